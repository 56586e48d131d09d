// Dialogs: the browser's own, with a name and a way out. An open one is an entry of the browser's history, so that the back
// gesture closes it and leaves the page where it is.

import { button, el, iconButton } from "../dom.js";

/** @type {HTMLDialogElement[]} */
const open = [];
let count = 0;

addEventListener("popstate", () => {
	const state = history.state?.sheet ?? 0;
	for (const one of [...open]) if (Number(one.dataset.sheet) > state) one.close();
});

/**
 * Open a dialog; it is gone once closed.
 * @param {string} name @param {...(Node | null)} children
 * @returns {HTMLDialogElement}
 */
export function openDialog(name, ...children) {
	const close = iconButton("Close", "close", () => dialog.close());
	const number = ++count;
	const dialog = el("dialog.sheet", { "aria-label": name, "data-sheet": number }, el("header", el("h2", name), close), ...children);
	dialog.onclose = () => {
		dialog.remove();
		open.splice(open.indexOf(dialog), 1);
		// Whatever comes next may have taken this entry's place by then.
		setTimeout(() => history.state?.sheet === number && history.back());
	};
	dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
	document.body.append(dialog);
	const below = history.state?.sheet;
	const left = below && !open.some((one) => one.open && Number(one.dataset.sheet) === below);
	history[left ? "replaceState" : "pushState"]({ sheet: number }, "");
	open.push(dialog);
	dialog.showModal();
	return dialog;
}

/**
 * Ask once more. @param {string} question @param {string} yes
 * @returns {Promise<boolean>}
 */
export function confirmed(question, yes) {
	return new Promise((resolve) => {
		const dialog = openDialog(
			"Are you sure?",
			el("p", question),
			el(
				"div.choice",
				button(yes, () => dialog.close("yes"), "danger"),
				button("Cancel", () => dialog.close()),
			),
		);
		dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
	});
}
