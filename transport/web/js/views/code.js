// Additions to rendered code: its language, and buttons to copy it and to wrap its lines.

import { button, copyText, el } from "../dom.js";

/** @param {DocumentFragment} nodes */
export function dressCode(nodes) {
	for (const pre of nodes.querySelectorAll("pre")) {
		const wrap = button(
			"Wrap",
			() => wrap.setAttribute("aria-pressed", String(pre.classList.toggle("wraps"))),
			"quiet",
		);
		wrap.setAttribute("aria-pressed", "false");
		const copy = button(
			"Copy code",
			() => copyText(pre.textContent ?? "").then((done) => (copy.textContent = done ? "Copied" : "Not allowed")),
			"quiet",
		);
		const frame = el("div.code", el("div.codehead", el("span", pre.dataset.language ?? ""), wrap, copy));
		pre.replaceWith(frame);
		frame.append(pre);
	}
}
