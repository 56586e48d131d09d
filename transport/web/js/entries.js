// The entries of a conversation, each built from the server's frames. Pure.

import { pointsOf } from "./pieces.js";

/** @param {string} messageId @param {any} from @param {string} state @returns {UserEntry} */
export function userEntry(messageId, from, state) {
	const { seq, turn_id: turn, content: text, timestamp: at, device_id: device, attachments, not_before: later } = from;
	const files = attachments ?? [];
	return {
		kind: "user",
		key: `m:${messageId}`,
		messageId,
		seq,
		place: seq,
		turn,
		text,
		at,
		device,
		files,
		state,
		later: later ?? null,
	};
}

/** @param {any} from @returns {AnswerEntry} */
export function answerEntry(from) {
	const { seq, turn_id: turn, timestamp: at, cause } = from;
	const lists = { parts: [], blocks: [], tools: [] };
	return {
		kind: "answer",
		key: `t:${turn}`,
		seq,
		place: seq,
		turn,
		at,
		...lists,
		status: "running",
		end: null,
		passing: "",
		html: null,
		cause: cause ?? "",
		changed: null,
		undo: "",
	};
}

/** @param {any} one @returns {AnswerEntry} */
export function pastAnswer(one) {
	const made = answerEntry(one);
	const text = one.content;
	if (text) addBlock(made, { kind: "text", id: "", text, points: pointsOf(text), cuts: 0 });
	const content = one.error?.content ?? "";
	const code = one.error?.code ?? "";
	return {
		...made,
		past: true,
		status: one.status,
		end: { content, code, by: null, at: "", usage: {}, resetsAt: "", ways: [] },
		html: one.html ?? null,
	};
}

/** @param {AnswerEntry} answer @param {Block} block */
export function addBlock(answer, block) {
	answer.parts.push(block);
	if (block.kind === "text") answer.blocks.push(block);
	return block;
}

/** The agent's service began this block again, so its earlier text does not count. @param {AnswerEntry} answer @param {string} id */
export function dropBlock(answer, id) {
	const stays = (/** @type {Part} */ one) => one.kind === "tool" || one.kind === "line" || one.id !== id;
	answer.parts = answer.parts.filter(stays);
	answer.blocks = answer.blocks.filter(stays);
}

/** @param {AnswerEntry} answer @param {Frame} frame @param {string} [printed] what it has printed already */
export function startTool(answer, frame, printed) {
	const { tool_id: id, name, input, parent_tool_id: parent, blob, timestamp: at } = frame;
	if (answer.tools.some((one) => one.id === id)) return;
	/** @type {Tool} */
	const tool = { kind: "tool", id, name, input, at, parent: parent ?? null, inputBlob: blob?.url, inner: [], printed };
	answer.tools.push(tool);
	const within = tool.parent === null ? undefined : answer.tools.find((one) => one.id === tool.parent);
	if (within && within !== tool) within.inner.push(tool);
	else answer.parts.push(tool);
}

/** @param {AnswerEntry} answer @param {Frame} frame */
export function finishTool(answer, frame) {
	const tool = answer.tools.find((one) => one.id === frame.tool_id);
	if (!tool) return;
	Object.assign(tool, {
		output: frame.output,
		isError: frame.is_error,
		ms: frame.duration_ms,
		outputBlob: frame.blob?.url,
		diff: frame.diff,
		pictures: frame.pictures,
	});
}

/** The call that a request is about: the newest unfinished one with this tool and input. @param {AnswerEntry | undefined} answer @param {Frame} frame */
export function askedTool(answer, frame) {
	if (!answer) return undefined;
	const input = JSON.stringify(frame.input);
	return answer.tools.findLast(
		(one) =>
			one.output === undefined &&
			(frame.tool_id ? one.id === frame.tool_id : one.name === frame.tool && JSON.stringify(one.input) === input),
	);
}

/** A request in the form of the views. @param {any} frame @returns {Asked} */
export function asked(frame) {
	const { request_id: id, tool, input, options, questions, kind, title, grant, modes, diff, editable } = frame;
	const list = Array.isArray(questions) && questions.length ? questions : null;
	const more = {
		kind: kind ?? "",
		title: title ?? "",
		grant: grant ?? "",
		modes: modes ?? [],
		diff: diff ?? [],
		editable: editable ?? [],
	};
	return { id, tool, input, options: options ?? [], questions: list, ...more };
}
