// How the session continues: permission mode, model, effort; and a message for later.

import { button, el, field } from "../dom.js";
import { modeName } from "../names.js";
import { openDialog } from "./dialogs.js";

/** @param {OpenSession} session @param {import("./composer.js").ComposerView} composer */
export function steering(session, composer) {
	const at = el("div");
	const draw = () => at.replaceChildren(...choices(session));
	draw();
	const later = el("input", { type: "datetime-local", min: local(new Date()) });
	const send = button("Send later", () => {
		const when = new Date(later.value);
		if (Number.isNaN(when.getTime()) || when.getTime() < Date.now()) return later.focus();
		dialog.close();
		composer.sendLater(when.toISOString());
	});
	const dialog = openDialog(
		"Mode and model",
		at,
		el("details", el("summary", "Send this message later"), el("div.inline", field("Time", later), send)),
	);
	session.watchers.add(draw);
	dialog.addEventListener("close", () => session.watchers.delete(draw));
}

/** @param {Date} at */
function local(at) {
	return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** @param {OpenSession} session */
function choices(session) {
	const { offer, settings } = session.journal;
	const { modes = [], models = [], applies = {} } = offer ?? {};
	const model = models.find((one) => one.id === settings.model) ?? models.find((one) => one.default) ?? models[0];
	const efforts = model?.efforts ?? [];
	/** @type {[string, string, {value: string, text: string, more?: string | undefined}[]][]} */
	const fields = [
		[
			"Permission mode",
			"permission_mode",
			modes.map((one) => ({ value: one.id, text: modeName(one), more: one.description })),
		],
		["Model", "model", models.map((one) => ({ value: one.id, text: one.name ?? one.id, more: one.description }))],
		["Effort", "effort", efforts.map((one) => ({ value: one, text: one }))],
	];
	return fields
		.filter(([, , options]) => options.length)
		.map(([label, name, options]) => choice(session, label, name, options, applies[name] ?? ""));
}

/**
 * @param {OpenSession} session @param {string} label @param {string} name
 * @param {{value: string, text: string, more?: string | undefined}[]} options @param {string} applies
 */
function choice(session, label, name, options, applies) {
	const current = session.journal.settings[name] ?? "";
	const select = el(
		"select",
		el("option", { value: "" }, "The agent's default"),
		...options.map((one) => el("option", { value: one.value }, one.text)),
	);
	select.value = options.some((one) => one.value === current) ? current : "";
	select.onchange = () => {
		const sent = session.act({ type: "configure", settings: { [name]: select.value || null } });
		if (!sent) select.value = current;
	};
	const chosen = options.find((one) => one.value === select.value)?.more ?? "";
	return field(
		label,
		select,
		[chosen, applies === "next_turn" ? "Holds from the next turn." : ""].filter(Boolean).join(" "),
	);
}
