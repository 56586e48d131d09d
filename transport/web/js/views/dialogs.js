// Dialogs: the browser's own, with a name and a way out. An open dialog is an entry of the browser's history, so that the back
// gesture closes it and leaves the page where it is.

import { button, el, iconButton } from "../dom.js";
import { here } from "../router.js";

/** @type {HTMLDialogElement[]} */
const open = [];
let count = 0;

/** The address at which the last dialog was opened. */
let where = "";

// A dialog that was closed by other means leaves its entry: removing it at once could undo the page's next step. So a step
// back over such an entry takes one more.
addEventListener("popstate", () => {
	const from = here.sheet;
	here.sheet = history.state?.sheet ?? 0;
	const over = open.filter((one) => one.open && Number(one.dataset.sheet) > here.sheet);
	for (const one of over) one.close();
	if (from > here.sheet && !over.length && location.hash === where) history.back();
});

/**
 * Open a dialog. It is removed once closed.
 * @param {string} name @param {...(Node | null)} children
 * @returns {HTMLDialogElement}
 */
export function openDialog(name, ...children) {
	const close = iconButton("Close", "close", () => dialog.close());
	const number = ++count;
	const dialog = el(
		"dialog.sheet",
		{ "aria-label": name, "data-sheet": number },
		el("header", el("h2", name), close),
		...children,
	);
	dialog.onclose = () => {
		dialog.remove();
		open.splice(open.indexOf(dialog), 1);
	};
	dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
	document.body.append(dialog);
	const below = history.state?.sheet;
	const left = below && !open.some((one) => one.open && Number(one.dataset.sheet) === below);
	history[left ? "replaceState" : "pushState"]({ sheet: number }, "");
	here.sheet = number;
	where = location.hash;
	open.push(dialog);
	dialog.showModal();
	return dialog;
}

/**
 * Ask for confirmation. @param {string} question @param {string} yes
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
