// The command palette: type a few letters, press Enter. Names that begin with the letters come before names that contain them.

import { ago, el, setAttr } from "../dom.js";
import { sessionName } from "../names.js";
import { goTo } from "../router.js";
import { openDialog } from "./dialogs.js";

/** Most rows that are shown at once. */
const MOST = 12;

/** @typedef {{name: string, hint: string, act: () => void}} Choice */

/** @param {SessionInfo[]} sessions newest first @param {Choice[]} commands */
export function palette(sessions, commands) {
	/** @type {Choice[]} */
	const all = [
		...sessions.map((one) => ({
			name: sessionName(one.title, one.session_id),
			hint: [one.agent_type, one.state === "idle" ? "" : one.state, ago(one.last_activity)].filter(Boolean).join(" · "),
			act: () => goTo(`#/s/${one.session_id}`),
		})),
		...commands,
	];
	const query = el("input", {
		type: "text",
		role: "combobox",
		"aria-label": "Go to or do",
		"aria-expanded": "true",
		"aria-controls": "choices",
		"aria-autocomplete": "list",
		placeholder: "Go to a session, or do something",
		autocomplete: "off",
	});
	const list = el("ul.choices", { id: "choices", role: "listbox", "aria-label": "Choices" });
	const dialog = openDialog("Go to", query, list);
	/** @type {Choice[]} */
	let shown = [];
	let at = 0;
	const take = (/** @type {Choice | undefined} */ choice) => {
		if (!choice) return;
		dialog.close();
		choice.act();
	};
	const mark = () => {
		for (const [index, row] of [...list.children].entries()) setAttr(row, "aria-selected", String(index === at));
		setAttr(query, "aria-activedescendant", shown.length ? `choice-${at}` : "");
		list.children[at]?.scrollIntoView({ block: "nearest" });
	};
	const draw = () => {
		const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
		const fits = (/** @type {Choice} */ one) =>
			words.every((word) => `${one.name} ${one.hint}`.toLowerCase().includes(word));
		const begins = (/** @type {Choice} */ one) => one.name.toLowerCase().startsWith(words.join(" "));
		const found = all.filter(fits);
		const best = [...found.filter(begins), ...found.filter((one) => !begins(one))];
		shown = (words.length ? best : [...commands, ...all.slice(0, MOST - commands.length)]).slice(0, MOST);
		at = 0;
		list.replaceChildren(
			...shown.map((one, index) =>
				el(
					"li",
					{ id: `choice-${index}`, role: "option", onclick: () => take(one) },
					el("span", one.name),
					el("small", one.hint),
				),
			),
		);
		mark();
	};
	query.oninput = draw;
	query.onkeydown = (event) => {
		const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
		if (step && shown.length) {
			at = (at + step + shown.length) % shown.length;
			mark();
		} else if (event.key === "Enter" && !event.isComposing && event.keyCode !== 229) take(shown[at]);
		else return;
		event.preventDefault();
	};
	draw();
	query.focus();
}
