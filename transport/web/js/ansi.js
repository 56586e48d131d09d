// Terminal output with its colours. Pure: text in, pieces of text with class names out.

/** @typedef {{text: string, style: string}} Piece */

const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
/** Everything that a program sends to control a terminal. The first group selects colours. */
// eslint-disable-next-line no-control-regex
const CODES = /\x1b\[([\d;]*)m|\x1b\[[\d;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]/g;

/** @param {string} text @returns {Piece[]} */
export function readAnsi(text) {
	/** @type {Piece[]} */
	const pieces = [];
	/** @type {Set<string>} */
	const on = new Set();
	let at = 0;
	const push = (/** @type {string} */ part) =>
		part && pieces.push({ text: lastWritten(part), style: [...on].join(" ") });
	for (const found of text.matchAll(CODES)) {
		push(text.slice(at, found.index));
		at = found.index + found[0].length;
		if (found[1] !== undefined) pick(on, found[1]);
	}
	push(text.slice(at));
	return pieces;
}

/** Return what a line shows last if a program overwrote parts of it. @param {string} text */
function lastWritten(text) {
	return text.includes("\r") ? text.replace(/\r+\n/g, "\n").replace(/[^\n]*\r(?!$)/g, "") : text;
}

/** @param {Set<string>} on @param {string} codes */
function pick(on, codes) {
	const numbers = codes.split(";").map(Number);
	for (let index = 0; index < numbers.length; index++) {
		const code = numbers[index] ?? 0;
		if (code === 38 || code === 48) {
			index += numbers[index + 1] === 5 ? 2 : 4; // one of 256 colours, or three parts: the text keeps its own colour
		} else if (code === 0) on.clear();
		else if (code === 1) on.add("bold");
		else if (code === 2) on.add("dim");
		else if (code === 22) {
			on.delete("bold");
			on.delete("dim");
		} else if (code === 39) drop(on);
		else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
			drop(on);
			on.add(`ansi-${COLOURS[code % 10]}`);
		}
	}
}

/** @param {Set<string>} on */
function drop(on) {
	for (const one of on) if (one.startsWith("ansi-")) on.delete(one);
}
