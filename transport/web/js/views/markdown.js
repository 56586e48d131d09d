// Plain Markdown as elements: for a plan, which is a request's input and so not rendered by the server. Headings, lists, code,
// bold and inline code; everything else stays text.

import { el } from "../dom.js";

const FENCE = /^\s*```/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const ITEM = /^(\s*)(?:[-*+]|(\d{1,4})[.)])\s+(.*)$/;

/** @param {string} text @returns {DocumentFragment} */
export function markdown(text) {
	const made = document.createDocumentFragment();
	const lines = text.split("\n");
	// The list, or paragraph, that the next line may continue.
	let open = /** @type {HTMLElement | null} */ (null);
	for (let index = 0; index < lines.length; index++) {
		const line = lines[index] ?? "";
		const [, marks, title] = HEADING.exec(line) ?? [];
		const item = ITEM.exec(line);
		if (FENCE.test(line)) {
			const end = lines.findIndex((one, at) => at > index && FENCE.test(one));
			const last = end < 0 ? lines.length : end;
			made.append(el("pre", { tabindex: 0 }, lines.slice(index + 1, last).join("\n")));
			[index, open] = [last, null];
		} else if (!line.trim()) open = null;
		else if (marks) {
			made.append(el(marks.length === 1 ? "h4" : marks.length === 2 ? "h5" : "h6", ...inline(title ?? "")));
			open = null;
		} else if (item) {
			const kind = item[2] ? "ol" : "ul";
			if (open?.localName !== kind) made.append((open = kind === "ol" ? el("ol", { start: item[2] }) : el("ul")));
			const level = Math.min(3, Math.floor((item[1] ?? "").length / 2));
			open.append(el("li", { class: level ? `level-${level}` : "" }, ...inline(item[3] ?? "")));
		} else if (open?.localName === "p") open.append(el("br"), ...inline(line));
		else if (open && /^\s+/.test(line)) open.lastElementChild?.append(" ", ...inline(line.trim()));
		else made.append((open = el("p", ...inline(line))));
	}
	return made;
}

/** @param {string} text @returns {(string | HTMLElement)[]} */
function inline(text) {
	return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
		if (part.length > 2 && part.startsWith("`")) return el("code", part.slice(1, -1));
		if (part.length > 4 && part.startsWith("**")) return el("strong", part.slice(2, -2));
		return part;
	});
}
