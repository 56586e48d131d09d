// Pieces of text, and the words for how something ended. Pure.

import { addBlock } from "./entries.js";

/** The length of a text in code points, as the server counts it. @param {string} text */
export function pointsOf(text) {
	let pairs = 0;
	for (let index = 0; index < text.length; index++) {
		const unit = text.charCodeAt(index);
		if (unit >= 0xd800 && unit < 0xdc00) {
			const next = text.charCodeAt(index + 1);
			if (next >= 0xdc00 && next < 0xe000) {
				pairs += 1;
				index += 1;
			}
		}
	}
	return text.length - pairs;
}

/** The first code points of a text. @param {string} text @param {number} points */
export function firstPoints(text, points) {
	let index = 0;
	for (let count = 0; count < points && index < text.length; count++) {
		index += /** @type {number} */ (text.codePointAt(index)) > 0xffff ? 2 : 1;
	}
	return text.slice(0, index);
}

/**
 * Take a piece: the block's text up to the piece's offset, then the piece. Works for live, joined and folded pieces.
 * @param {AnswerEntry} answer
 * @param {Frame} frame
 */
export function takePiece(answer, frame) {
	const kind = frame.type === "thinking" ? "thinking" : "text";
	const is = (/** @type {Part | undefined} */ one) => one?.kind === kind && one.id === frame.block;
	const last = answer.parts.at(-1);
	const found = is(last) ? last : answer.parts.find(is);
	const block = /** @type {Block} */ (
		found ?? addBlock(answer, { kind, id: frame.block, text: "", points: 0, cuts: 0 })
	);
	if (frame.offset !== block.points) {
		block.text = firstPoints(block.text, frame.offset);
		block.cuts += 1;
	}
	block.text += frame.content;
	block.points = frame.offset + pointsOf(frame.content);
}

/** @typedef {(id: string | null) => string} NameOf */

/** How a turn ended, if it did not simply finish. @param {AnswerEntry} answer @param {NameOf} nameOf */
export function endingText({ status, end }, nameOf) {
	if (status === "error") return end?.content || "The turn failed.";
	if (status === "interrupted") return end?.by ? `Stopped by ${nameOf(end.by)}` : "Stopped";
	return "";
}

/** @param {Frame} frame */
export function noticeText(frame) {
	const wait = typeof frame.retry_in_s === "number" ? ` Next try in ${Math.round(frame.retry_in_s)} s.` : "";
	return frame.content + wait;
}

/** A line's first words and what follows below them. @param {Line} line @param {NameOf} nameOf @returns {[string, ...string[]]} */
export function lineText(line, nameOf) {
	if (!line.decision) return line.note ? [line.text, line.note] : [line.text];
	const words = { deny: "Denied", cancelled: "Cancelled" };
	const word = words[/** @type {"deny"} */ (line.decision)] ?? "Allowed";
	const lasting =
		line.decision !== "allow_session" ? "" : line.grant ? `for this session: ${line.grant}` : "for this session";
	return [`${word}${line.by ? ` by ${nameOf(line.by)}` : ""}`, ...[line.text, lasting, line.note].filter(Boolean)];
}
