// A file of the workspace with its lines' numbers; a picture is shown, and anything else can be saved.

import { ApiError } from "../api.js";
import { button, el, sizeText } from "../dom.js";
import { safeBlocks } from "../sanitise.js";
import { openPane } from "./pane.js";
import { saveFile } from "./share.js";

/** Lines of plain text that are drawn together: those out of sight cost nothing. */
const PART = 500;

/**
 * Show a file.
 * @param {OpenSession} session @param {string} path from the workspace @param {(text: string) => void} say
 * @param {boolean} [over] whether the pane that is open now comes back afterwards
 */
export async function showFile(session, path, say, over = false) {
	const at = el("div.fileview", el("p.hint", { role: "status" }, "Reading the file …"));
	openPane(path, at, over);
	await load(session, path, say, at);
}

/** @param {OpenSession} session @param {string} path @param {(text: string) => void} say @param {HTMLElement} at */
async function load(session, path, say, at) {
	try {
		const url = `/api/sessions/${encodeURIComponent(session.id)}/file?path=${encodeURIComponent(path)}`;
		const answer = await session.client.api.fetch(url);
		const isText = !answer.headers.has("Content-Disposition");
		at.replaceChildren(...(isText ? drawText(await answer.json()) : drawBytes(await answer.blob(), path, say)));
	} catch (error) {
		const text = error instanceof ApiError ? error.message : "Couldn't read the server's answer.";
		at.replaceChildren(el("p.hint", { role: "alert" }, text), button("Try again", () => load(session, path, say, at)));
	}
}

/** @param {{content: string, html: string | null}} file @returns {HTMLElement[]} */
function drawText({ content, html }) {
	if (!content) return [el("p.hint", "This file is empty.")];
	const lines = (content.endsWith("\n") ? content.slice(0, -1) : content).split("\n");
	const coloured = html === null ? null : colouredLines(html);
	const matches = coloured?.textContent?.trimEnd() === content.trimEnd();
	const parts = matches && coloured ? [part(0, lines.length, coloured)] : plainParts(lines);
	return [el("div.code.lines", { role: "group", "aria-label": `${lines.length} lines`, tabindex: 0 }, ...parts)];
}

/** @param {string} html @returns {HTMLElement | null} */
function colouredLines(html) {
	for (const nodes of safeBlocks(html).values()) {
		const code = nodes.querySelector("pre code") ?? nodes.querySelector("pre");
		if (code) return el("code", ...code.childNodes);
	}
	return null;
}

/** @param {string[]} lines */
function plainParts(lines) {
	const parts = [];
	for (let from = 0; from < lines.length; from += PART) {
		const some = lines.slice(from, from + PART);
		parts.push(part(from, some.length, el("code", some.join("\n"))));
	}
	return parts;
}

/** @param {number} from @param {number} count @param {HTMLElement} code */
function part(from, count, code) {
	const numbers = Array.from({ length: count }, (_, index) => from + index + 1).join("\n");
	return el("div.linepart", el("pre.numbers", { "aria-hidden": "true" }, numbers), el("pre", code));
}

/** @param {Blob} blob @param {string} path @param {(text: string) => void} say @returns {HTMLElement[]} */
function drawBytes(blob, path, say) {
	const name = path.split("/").pop() ?? path;
	const save = button(`Save ${name}`, () => saveFile(blob, name).catch(() => say("Couldn't save the file.")));
	const about = el("p.hint", `${blob.type.startsWith("image/") ? "A picture" : "Not shown as text"}, ${sizeText(blob.size)}.`);
	return [...(blob.type.startsWith("image/") ? [picture(blob, name)] : []), about, save];
}

/** @param {Blob} blob @param {string} name */
function picture(blob, name) {
	const url = URL.createObjectURL(blob);
	const free = () => URL.revokeObjectURL(url);
	return el("img", { src: url, alt: name, onload: free, onerror: free });
}
