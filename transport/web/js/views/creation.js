// Creates a session: on which machine if there are several, which agent, in which folder or worktree, with which model and mode.

import { button, el, field } from "../dom.js";
import { recall, remember } from "../identity.js";
import { modeName } from "../names.js";
import { openDialog } from "./dialogs.js";
import { chooseFolder } from "./folders.js";
import { atMachine, machineChoice } from "./machines.js";

/** What an agent offered at its last use here. @param {string} agent @returns {Offer} */
function offered(agent) {
	try {
		return JSON.parse(recall(`offer.${agent}`) ?? "{}");
	} catch {
		return {};
	}
}

/** Folders of other sessions on the same machine. @param {Client} client @param {string} machine "" if there is only one */
function foldersOf(client, machine) {
	const there = client.sessions.list.filter((one) => !machine || one.machine?.id === machine);
	return [...new Set(there.flatMap((one) => (one.workspace ? [one.workspace] : [])))].slice(0, 20);
}

/**
 * @param {Client} client @param {string[]} agents ready ones first
 * @param {(agent: string, settings: Record<string, string | boolean>) => void} create
 */
export function newSession(client, agents, create) {
	const last = recall("agent") ?? "";
	const sorted = [...agents].sort((a, b) => Number(b === last) - Number(a === last));
	const agent = el("select", { autofocus: true }, ...sorted.map((name) => el("option", { value: name }, name)));
	const plain = { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
	const workspace = el("input", { ...plain, list: "folders" });
	const known = el("datalist", { id: "folders" });
	const place = () => {
		const folders = foldersOf(client, machine.chosen());
		workspace.placeholder = `${folders[0] ?? "~/code/trip"} (default)`;
		known.replaceChildren(...folders.map((one) => el("option", { value: one })));
	};
	const machine = machineChoice(client, () => {
		workspace.value = ""; // a folder of another machine
		place();
	});
	place();
	const browse = button("Browse", () =>
		chooseFolder(
			client,
			workspace.value.trim().startsWith("/") ? workspace.value.trim() : "",
			(path) => (workspace.value = path),
			machine.chosen(),
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
		machine.node,
		field("Agent", agent),
		el(
			"details",
			el("summary", "Folder, model and mode"),
			el("div.inline", field("Workspace", workspace), browse),
			el("p.hint", "A folder on the computer that runs the session"),
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
		const settings = atMachine(machine.chosen());
		if (workspace.value.trim()) settings.workspace = workspace.value.trim();
		if (worktree.checked) settings.worktree = true;
		if (model.value.trim()) settings.model = model.value.trim();
		if (mode?.value) settings.permission_mode = mode.value;
		remember("agent", agent.value);
		dialog.close();
		create(agent.value, settings);
	};
}
