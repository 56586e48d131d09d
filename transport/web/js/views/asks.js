// The rarer questions: an agent's own with answers to choose from, trust in a folder, and the mode to continue in.

import { button, el } from "../dom.js";
import { modeName } from "../names.js";

/** @typedef {{agent: string, decide: import("./permission.js").Decide, offer: Offer | null, mayDrive: boolean}} By */

/** @param {Asked} request @param {By} by @returns {HTMLElement[]} */
export function form(request, { decide }) {
	const questions = request.questions ?? [];
	const fields = questions.map((one, index) => question(one, `${request.id}-${index}`));
	const made = el(
		"form.questions",
		...fields.map((one) => one.node),
		el(
			"div.choice",
			el("button.primary", "Answer"),
			button("Deny", () => decide(request, "deny", {}), "danger"),
		),
	);
	made.onsubmit = (event) => {
		event.preventDefault();
		const answers = Object.fromEntries(questions.map((one, index) => [one.question, fields[index]?.value() ?? ""]));
		decide(request, "allow", { answers });
	};
	return [made];
}

/** @param {Question} asked @param {string} name @returns {{node: HTMLElement, value: () => string}} */
function question(asked, name) {
	const type = asked.multiSelect ? "checkbox" : "radio";
	const boxes = asked.options.map((option, index) => ({
		label: option.label,
		box: el("input", { type, name, checked: index === 0 && type === "radio" }),
		description: option.description,
	}));
	const own = el("input", { type: "text", "aria-label": `Other: ${asked.question}`, placeholder: "Other …" });
	const value = () => {
		const chosen = boxes.filter((one) => one.box.checked).map((one) => one.label);
		const text = own.value.trim();
		if (text && type === "radio") return text;
		return (text ? [...chosen, text] : chosen).join(", ");
	};
	const rows = boxes.map(({ label, box, description }) =>
		el("label.option", box, el("span", label, description ? el("small", description) : null)),
	);
	return { node: el("fieldset", el("legend", asked.question), ...rows, own), value };
}

/** What would run automatically, and whether it may. @param {Asked} request @param {By} by @returns {HTMLElement[]} */
export function trust(request, { decide, mayDrive }) {
	const { folder, runs, more = 0 } = request.input ?? {};
	const rows = (Array.isArray(runs) ? runs : []).map((one) =>
		el(
			"li",
			el("b", `${one?.kind ?? ""} ${one?.name ?? ""}`),
			el("small", ` (${one?.from ?? "the folder"})`),
			...(one?.command ? [": ", el("code", String(one.command))] : []),
		),
	);
	if (more) rows.push(el("li", `and ${more} more, which are not listed`));
	const told = [
		el("p", el("code", String(folder ?? ""))),
		el("ul.trust", ...rows),
		el("p.hint", "Trust the folder only if you know where it comes from. That holds until these files change."),
	];
	if (!mayDrive) return told;
	const without = !request.options.length || request.options.includes("deny");
	const choice = el(
		"div.choice",
		button("Trust this folder", () => decide(request, "allow", {}), "primary"),
		without ? button("Continue without its settings", () => decide(request, "deny", {})) : null,
		button("Cancel", () => decide(request, "interrupt", {}), "danger"),
	);
	return [...told, choice];
}

/** "Approve and switch": the modes in which this question may continue. @param {Asked} request @param {By} by @returns {HTMLElement[]} */
export function modes(request, { decide, offer }) {
	const known = offer?.modes ?? [];
	const wanted = request.modes.length
		? known.filter((one) => request.modes.includes(one.id))
		: known.filter((one) => one.kind === "edits" || one.kind === "ask");
	if (!wanted.length) return [];
	const choice = wanted.map((one) =>
		button(`Allow and switch to ${modeName(one)}`, () => decide(request, "allow", { mode: one.id }), "quiet"),
	);
	return [el("div.choice", ...choice)];
}

/** Change the plan before allowing it. @param {Asked} request @param {By} by @returns {HTMLElement[]} */
export function edit(request, { decide }) {
	const text = el("textarea", { rows: 8, "aria-label": "Plan" });
	text.value = String(request.input?.plan ?? "");
	const allow = button("Allow the changed plan", () => decide(request, "allow", { input: { plan: text.value } }));
	return [el("details", el("summary", "Change the plan"), text, allow)];
}
