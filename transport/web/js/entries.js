// The entries of a conversation: how each is made of what the server told. Pure.

import { pointsOf } from "./pieces.js";

/** @param {string} messageId @param {any} from @param {string} state @returns {UserEntry} */
export function userEntry(messageId, from, state) {
	const { seq, turn_id: turn, content: text, timestamp: at, device_id: device, attachments } = from;
	return { kind: "user", key: `m:${messageId}`, messageId, seq, turn, text, at, device, files: attachments ?? [], state };
}

/** @param {any} from @returns {AnswerEntry} */
export function answerEntry(from) {
	const { seq, turn_id: turn, timestamp: at } = from;
	return { kind: "answer", key: `t:${turn}`, seq, turn, at, blocks: [], thinking: [], tools: [], status: "running", ending: "", html: null };
}

/** @param {any} one @returns {AnswerEntry} */
export function pastAnswer(one) {
	const text = one.content;
	return {
		...answerEntry(one),
		blocks: text ? [{ id: "", text, points: pointsOf(text) }] : [],
		status: one.status,
		ending: one.error?.content ?? (one.status === "interrupted" ? "Stopped" : ""),
		html: one.html ?? null,
	};
}

/** @param {AnswerEntry} answer @param {Frame} frame */
export function startTool(answer, frame) {
	const { tool_id: id, name, input, parent_tool_id: parent, blob } = frame;
	if (answer.tools.some((one) => one.id === id)) return;
	answer.tools.push({ id, name, input, parent: parent ?? null, inputBlob: blob?.url });
}

/** @param {AnswerEntry} answer @param {Frame} frame */
export function finishTool(answer, frame) {
	const tool = answer.tools.find((one) => one.id === frame.tool_id);
	if (!tool) return;
	Object.assign(tool, { output: frame.output, isError: frame.is_error, ms: frame.duration_ms, outputBlob: frame.blob?.url });
}
