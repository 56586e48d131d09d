// Creates a session: which agent, in which folder or worktree, with which model and mode.

import { button, el, field } from "../dom.js";
import { recall, remember } from "../identity.js";
import { modeName } from "../names.js";
import { openDialog } from "./dialogs.js";
import { chooseFolder } from "./folders.js";

/** What an agent offered at its last use here. @param {string} agent @returns {Offer} */
function offered(agent) {
	try {
		return JSON.parse(recall(`offer.${agent}`) ?? "{}");
	} catch {
		return {};
	}
}

/**
 * @param {Client} client @param {string[]} agents ready ones first @param {string[]} folders known from other sessions
 * @param {(agent: string, settings: Record<string, string | boolean>) => void} create
 */
export function newSession(client, agents, folders, create) {
	const last = recall("agent") ?? "";
	const sorted = [...agents].sort((a, b) => Number(b === last) - Number(a === last));
	const agent = el("select", { autofocus: true }, ...sorted.map((name) => el("option", { value: name }, name)));
	const plain = { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
	const workspace = el("input", {
		...plain,
		placeholder: folders[0] ? `${folders[0]} (default)` : "~/code/trip (default)",
		list: "folders",
	});
	const known = el("datalist", { id: "folders" }, ...folders.map((one) => el("option", { value: one })));
	const browse = button("Browse", () =>
		chooseFolder(
			client,
			workspace.value.trim().startsWith("/") ? workspace.value.trim() : "",
			(path) => (workspace.value = path),
		),
	);
	const worktree = el("input", { type: "checkbox" });
	const apart = el(
		"label.option",
		worktree,
		el("span", "In a git worktree of its own", el("small", "On a new branch, so that it disturbs no other session")),
	);
	const more = el("div");
	/** @type {{model: HTMLInputElement | HTMLSelectElement, mode: HTMLSelectElement | null}} */
	let fields;
	const draw = () => {
		const { models = [], modes = [] } = offered(agent.value);
		const model = models.length
			? el(
					"select",
					el("option", { value: "" }, "Default model"),
					...models.map((one) => el("option", { value: one.id }, one.name ?? one.id)),
				)
			: el("input", { ...plain, placeholder: "Default model" });
		const mode = modes.length
			? el(
					"select",
					el("option", { value: "" }, "The agent's default"),
					...modes.map((one) => el("option", { value: one.id }, modeName(one))),
				)
			: null;
		fields = { model, mode };
		more.replaceChildren(field("Model", model), ...(mode ? [field("Permission mode", mode)] : []));
	};
	agent.onchange = draw;
	draw();
	const form = el(
		"form",
		field("Agent", agent),
		el(
			"details",
			el("summary", "Folder, model and mode"),
			el("div.inline", field("Workspace", workspace), browse),
			el("p.hint", "A folder on the computer that runs the server"),
			known,
			apart,
			more,
		),
		el("div.choice", el("button.primary", "Create")),
	);
	const dialog = openDialog("New session", form);
	form.onsubmit = (event) => {
		event.preventDefault();
		const { model, mode } = fields;
		/** @type {Record<string, string | boolean>} */
		const settings = {};
		if (workspace.value.trim()) settings.workspace = workspace.value.trim();
		if (worktree.checked) settings.worktree = true;
		if (model.value.trim()) settings.model = model.value.trim();
		if (mode?.value) settings.permission_mode = mode.value;
		remember("agent", agent.value);
		dialog.close();
		create(agent.value, settings);
	};
}
