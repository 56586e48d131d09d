// A file of the workspace with line numbers, as it is or as it was. A picture is shown; any other file can be saved.

import { ApiError } from "../api.js";
import { button, el, setAttr, sizeText } from "../dom.js";
import { safeBlocks } from "../sanitise.js";
import { openPane } from "./pane.js";
import { saveFile } from "./share.js";

/** Lines that are laid out together, and only near the visible ones. Elsewhere a part is an empty box. */
const PART = 500;
/** The height of a line, in em (more.css). */
const LINE_EM = 1.45;

/** @typedef {{name: string, path: string, checkpoint: string | null}} FileState the file at one moment; `checkpoint` null: now */

/**
 * Show a file.
 * @param {OpenSession} session @param {string} path from the workspace @param {(text: string) => void} say
 * @param {{over?: boolean, line?: number, states?: FileState[]}} [how] `over`: the pane that is open now returns afterwards;
 * `line`: where to begin; `states`: moments that can be chosen, the last one first
 */
export async function showFile(session, path, say, { over = false, line = 0, states = [] } = {}) {
	const view = new FileView(session, say, line, states.length ? states : [{ name: "Now", path, checkpoint: null }]);
	openPane(path, view.node, over);
	await view.show(view.states.length - 1);
}

class FileView {
	/** @param {OpenSession} session @param {(text: string) => void} say @param {number} line @param {FileState[]} states */
	constructor(session, say, line, states) {
		this.session = session;
		this.say = say;
		this.line = line;
		this.states = states;
		this.chosen = 0;
		this.choices = states.map(({ name }, index) => button(name, () => this.show(index), "quiet"));
		this.at = el("div");
		this.node = el("div.fileview", states.length > 1 ? el("div.choice", ...this.choices) : null, this.at);
	}

	/** @param {number} index of the state */
	async show(index) {
		this.chosen = index;
		for (const [at, one] of this.choices.entries()) setAttr(one, "aria-pressed", String(at === index));
		const { session, at } = this;
		const { path, checkpoint } = /** @type {FileState} */ (this.states[index]);
		at.replaceChildren(el("p.hint", { role: "status" }, "Reading the file …"));
		const query = new URLSearchParams({ path, ...(checkpoint === null ? {} : { checkpoint }) });
		/** @type {HTMLElement[]} */
		let drawn;
		try {
			const answer = await session.client.api.fetch(`/api/sessions/${encodeURIComponent(session.id)}/file?${query}`);
			const isText = !answer.headers.has("Content-Disposition");
			drawn = isText ? drawText(await answer.json()) : drawBytes(await answer.blob(), path, this.say);
		} catch (error) {
			const text = error instanceof ApiError ? error.message : "Couldn't read the server's answer.";
			drawn = [el("p.hint", { role: "alert" }, text), button("Try again", () => this.show(index))];
		}
		if (this.chosen !== index) return;
		at.replaceChildren(...drawn);
		if (this.line) mark(at, this.line);
	}
}

/** @param {{content: string, html: string | null}} file @returns {HTMLElement[]} */
function drawText({ content, html }) {
	if (content === "") return [el("p.hint", "The file is empty.")];
	const lines = (content.endsWith("\n") ? content.slice(0, -1) : content).split("\n");
	const coloured = html === null ? null : colouredLines(html);
	const matches = coloured?.textContent?.trimEnd() === content.trimEnd();
	const codes = matches && coloured ? divided(coloured) : plain(lines);
	let from = 0;
	const parts = codes.map((code, index) => {
		const count = index < codes.length - 1 ? PART : lines.length - from;
		from += count;
		return part(from - count, count, code);
	});
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

/** Split coloured code after every group of lines. A colour that crosses the split continues. @param {HTMLElement} code */
function divided(code) {
	let now = el("code");
	const parts = [now];
	let count = 0;
	for (const node of [...code.childNodes]) {
		const lines = (node.textContent ?? "").split("\n");
		if (count + lines.length - 1 < PART) {
			now.append(node);
			count += lines.length - 1;
			continue;
		}
		for (const [index, line] of lines.entries()) {
			const text = index < lines.length - 1 ? `${line}\n` : line;
			if (!text) continue;
			const copy = node instanceof Element ? /** @type {Element} */ (node.cloneNode(false)) : null;
			copy?.append(text);
			now.append(copy ?? text);
			if (index === lines.length - 1 || ++count < PART) continue;
			parts.push((now = el("code")));
			count = 0;
		}
	}
	if (!now.firstChild) parts.pop();
	return parts;
}

/** @param {string[]} lines */
function plain(lines) {
	const parts = [];
	for (let from = 0; from < lines.length; from += PART)
		parts.push(el("code", lines.slice(from, from + PART).join("\n")));
	return parts;
}

/** @param {number} from @param {number} count @param {HTMLElement} code */
function part(from, count, code) {
	const numbers = Array.from({ length: count }, (_, index) => from + index + 1).join("\n");
	const node = el("div.linepart", el("pre.numbers", { "aria-hidden": "true" }, numbers), el("pre", code));
	node.style.setProperty("contain-intrinsic-height", `${count * LINE_EM}em`);
	return node;
}

/** Show a line and mark it. @param {HTMLElement} at @param {number} line */
function mark(at, line) {
	const parts = at.querySelectorAll(".linepart");
	const place = parts[Math.floor((line - 1) / PART)];
	if (!place) return;
	const node = el("div.linemark", { "data-line": line });
	node.style.top = `${((line - 1) % PART) * LINE_EM}em`;
	place.append(node);
	node.scrollIntoView({ block: "center" });
}

/** @param {Blob} blob @param {string} path @param {(text: string) => void} say @returns {HTMLElement[]} */
function drawBytes(blob, path, say) {
	const name = path.split("/").pop() ?? path;
	const save = button(`Save ${name}`, () => saveFile(blob, name).catch(() => say("Couldn't save the file.")));
	const about = el(
		"p.hint",
		`${blob.type.startsWith("image/") ? "A picture" : "Not shown as text"}, ${sizeText(blob.size)}.`,
	);
	return [...(blob.type.startsWith("image/") ? [picture(blob, name)] : []), about, save];
}

/** @param {Blob} blob @param {string} name */
function picture(blob, name) {
	const url = URL.createObjectURL(blob);
	const free = () => URL.revokeObjectURL(url);
	return el("img", { src: url, alt: name, onload: free, onerror: free });
}
