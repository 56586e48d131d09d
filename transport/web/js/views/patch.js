// A patch of any length, with line numbers, drawn in parts as a person scrolls. Long lines wrap. On a wide screen the old and
// the new text can be side by side.

import { numbered, paired } from "../diff.js";
import { button, el } from "../dom.js";

/** Rows that are drawn at once. */
const PART = 80;
/** The distance from its end at which the next part is drawn. */
const NEAR = "1200px";

const KINDS = { "+": "added", "-": "removed", "@": "hunk", " ": "" };

/** @typedef {import("../diff.js").NumberedLine} NumberedLine */

/**
 * @param {string} patch
 * @param {{split?: boolean, choose?: (line: NumberedLine, row: HTMLElement) => void}} [how] `split`: side by side; `choose`: what
 * happens when a person presses a line, below whose `row` there is room
 * @returns {HTMLElement}
 */
export function drawPatch(patch, { split = false, choose } = {}) {
	const lines = numbered(patch);
	const rows = split ? paired(lines) : lines.map((line) => [line]);
	const node = el("div.patch", {
		role: "group",
		"aria-label": choose ? "Changed lines. Arrow keys choose one, Enter comments on it." : "Changed lines",
	});
	/** @type {WeakMap<Element, NumberedLine>} */
	const drawnLines = new WeakMap();
	const one = (/** @type {NumberedLine | null} */ line) => {
		if (!line) return el("span.nothing");
		const { sign, text, number } = line;
		const span = el(
			"span",
			{ class: KINDS[sign], "data-number": number || null },
			`${sign === "@" ? "" : sign}${text}\n`,
		);
		if (number) drawnLines.set(span, line);
		return span;
	};
	const row = (/** @type {(NumberedLine | null)[]} */ of) =>
		of.length === 1 ? one(of[0] ?? null) : el("div.pair", ...of.map(one));
	let drawn = 0;
	const more = button("", () => draw(), "quiet");
	const watcher = new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && draw(), {
		rootMargin: NEAR,
	});
	const draw = () => {
		const part = rows.slice(drawn, drawn + PART).map(row);
		drawn += part.length;
		const left = rows.length - drawn;
		more.before(el("code", ...part));
		more.textContent = `Show more lines (${left} left)`;
		more.hidden = left <= 0;
		watcher.unobserve(more); // a new observation reports whether the end is still near
		if (left > 0) watcher.observe(more);
	};
	node.append(more);
	draw();
	if (choose) listen(node, drawnLines, choose);
	return node;
}

/**
 * A line is chosen by a press, or by arrow keys and Enter.
 * @param {HTMLElement} node @param {WeakMap<Element, NumberedLine>} lines @param {(line: NumberedLine, row: HTMLElement) => void} choose
 */
function listen(node, lines, choose) {
	const take = (/** @type {EventTarget | null} */ target) => {
		const span = target instanceof Element ? target.closest("span[data-number]") : null;
		const line = span ? lines.get(span) : undefined;
		const row = span?.closest(".pair") ?? span;
		if (line && row) choose(line, /** @type {HTMLElement} */ (row));
	};
	/** @type {Element | null} the line that the keys chose last */
	let last = null;
	node.tabIndex = 0;
	node.onclick = (event) => {
		if (getSelection()?.isCollapsed !== false) take(event.target); // a selection means that the person wants to copy
	};
	node.onkeydown = (event) => {
		const { target } = event;
		if (!(target instanceof Element) || target.closest("form, button")) return;
		if (event.key === "Enter") take(target);
		else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
			const spans = [...node.querySelectorAll("span[data-number]")];
			const next = spans[last ? spans.indexOf(last) + (event.key === "ArrowDown" ? 1 : -1) : 0];
			if (!(next instanceof HTMLElement)) return;
			last = next;
			next.tabIndex = -1;
			next.focus();
			// A finger near a focusable element would press that element.
			next.addEventListener("blur", () => next.removeAttribute("tabindex"), { once: true });
		} else return;
		event.preventDefault();
	};
}
