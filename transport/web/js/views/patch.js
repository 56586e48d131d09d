// A patch of any length: drawn in parts as a person scrolls, with the lines' numbers. Long lines wrap.

import { numbered } from "../diff.js";
import { button, el } from "../dom.js";

/** Lines that are drawn at once. */
const PART = 200;
/** How far before its end is seen the next part is drawn. */
const NEAR = "1200px";

const KINDS = { "+": "added", "-": "removed", "@": "hunk", " ": "" };

/** @param {string} patch @returns {HTMLElement} */
export function drawPatch(patch) {
	const lines = numbered(patch);
	const node = el("div.patch", { role: "group", "aria-label": "Changed lines" });
	let drawn = 0;
	const more = button("", () => draw(), "quiet");
	const watcher = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && draw(), { rootMargin: NEAR });
	const draw = () => {
		const part = lines.slice(drawn, drawn + PART).map(({ sign, text, number }) =>
			el("span", { class: KINDS[sign], "data-number": number || null }, `${sign === "@" ? "" : sign}${text}\n`),
		);
		drawn += part.length;
		const left = lines.length - drawn;
		more.before(el("code", ...part));
		more.textContent = `Show more lines (${left} left)`;
		more.hidden = left <= 0;
		watcher.unobserve(more); // a new look says whether the end is still near
		if (left > 0) watcher.observe(more);
	};
	node.append(more);
	draw();
	return node;
}
