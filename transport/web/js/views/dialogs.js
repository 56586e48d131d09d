// Dialogs: the browser's own, with a name and a way out.

import { button, el, iconButton } from "../dom.js";

/**
 * Open a dialog; it is gone once closed.
 * @param {string} name @param {...(Node | null)} children
 * @returns {HTMLDialogElement}
 */
export function openDialog(name, ...children) {
	const close = iconButton("Close", "close", () => dialog.close());
	const dialog = el(
		"dialog.sheet",
		{ "aria-label": name, onclose: () => dialog.remove() },
		el("header", el("h2", name), close),
		...children,
	);
	dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
	document.body.append(dialog);
	dialog.showModal();
	return dialog;
}

/**
 * @param {string} label @param {HTMLElement} control @param {string} [hint]
 */
export function field(label, control, hint) {
	control.id = `field-${label.toLowerCase()}`;
	return el("div.field", el("label", { for: control.id }, label), control, hint ? el("small", hint) : null);
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
				button("Keep", () => dialog.close()),
			),
		);
		dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
	});
}

/**
 * Make a session.
 * @param {string[]} agents @param {(agent: string, settings: Record<string, string>) => void} create
 */
export function newSession(agents, create) {
	const agent = el("select", { autofocus: true }, ...agents.map((name) => el("option", { value: name }, name)));
	const workspace = el("input", { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder: "the server's" });
	const model = el("input", { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder: "the agent's" });
	const form = el(
		"form",
		field("Agent", agent),
		el("details", el("summary", "Workspace and model"), field("Workspace", workspace, "A folder on the server"), field("Model", model)),
		el("div.choice", el("button.primary", "Create")),
	);
	const dialog = openDialog("New session", form);
	form.onsubmit = (event) => {
		event.preventDefault();
		/** @type {Record<string, string>} */
		const settings = {};
		if (workspace.value.trim()) settings.workspace = workspace.value.trim();
		if (model.value.trim()) settings.model = model.value.trim();
		dialog.close();
		create(agent.value, settings);
	};
}
