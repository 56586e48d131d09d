// Places in files, in the notation of agents and their tools: `src/app.py:12`, `File "app.py", line 12`. Pure.

import { relative } from "./tools.js";

/** @typedef {{path: string, line: number}} Place `line` 0: the file as a whole */

/** Endings that a name without a folder must have: `app.py` is a file, `self.name` is not. */
const ENDINGS = new Set(
	(
		"bash bat c cc cfg clj conf cpp cs css csv cxx dart env ex exs fish go gradle h hpp hs htm html ini ipynb java jl js json jsonl jsx kt kts " +
		"less lock log lua m md mjs cjs ml nix php pl proto ps1 py pyi r rb rs rst scala scss sh sql svelte svg swift tf toml ts tsx txt vue xml yaml yml zig zsh"
	).split(" "),
);
/** Most characters of a text to search for places. */
const MOST = 100_000;

const WHOLE = /^([\w.@+~/-]{1,300}?)(?:#L|:)?(\d{1,7})?(?:[:-]\d+)?$/;
/** In running output a place counts only with a line. */
const INSIDE = /File "([^"\n]{1,300})", line (\d{1,7})|([\w.@+~/-]{1,300}\.\w{1,8}):(\d{1,7})\b/g;

/**
 * Read a text that is exactly one place.
 * @param {string} text @param {string | undefined} workspace @returns {Place | null}
 */
export function placeOf(text, workspace) {
	const marked = /(?:#L|:)\d/.test(text);
	const found = WHOLE.exec(marked ? text : `${text}:0`);
	return found ? inside(found[1] ?? "", found[2], workspace) : null;
}

/** @param {string} written @param {string | undefined} line @param {string | undefined} workspace @returns {Place | null} */
function inside(written, line, workspace) {
	const path = relative(written.replace(/^\.\//, ""), workspace);
	const name = path.split("/").pop() ?? "";
	const [, ending] = /^.*\.([A-Za-z]\w{0,7})$/.exec(name) ?? [];
	if (!ending || path.startsWith("/") || path.startsWith("~") || path.split("/").includes("..")) return null;
	if (!path.includes("/") && !ENDINGS.has(ending.toLowerCase())) return null;
	return { path, line: Number(line ?? 0) };
}

/**
 * Split a text at the places that it names.
 * @param {string} text @param {string | undefined} workspace @returns {{text: string, place: Place | null}[]}
 */
export function placesIn(text, workspace) {
	const parts = [];
	let from = 0;
	for (const found of text.slice(0, MOST).matchAll(INSIDE)) {
		const place = inside(found[1] ?? found[3] ?? "", found[2] ?? found[4], workspace);
		if (!place) continue;
		if (found.index > from) parts.push({ text: text.slice(from, found.index), place: null });
		parts.push({ text: found[0], place });
		from = found.index + found[0].length;
	}
	if (from < text.length) parts.push({ text: text.slice(from), place: null });
	return parts;
}
