// The chips above the inbox: which sessions are shown.

import { button } from "../dom.js";

/**
 * @param {HTMLElement} at @param {SessionInfo[]} sessions @param {Set<string>} only what is chosen; agents begin with @
 * @param {(archived: boolean) => void} changed
 */
export function drawFilters(at, sessions, only, changed) {
	const agents = [...new Set(sessions.map((one) => one.agent_type))].sort();
	const names = [
		...(sessions.some((one) => one.unread) || only.has("Unread") ? ["Unread"] : []),
		...(agents.length > 1 ? agents.map((name) => `@${name}`) : []),
		...(sessions.some((one) => one.archived !== undefined) || only.has("Archived") ? ["Archived"] : []),
	];
	const told = JSON.stringify([names, [...only]]);
	if (told === at.dataset.told) return;
	at.dataset.told = told;
	at.hidden = !names.length;
	const toggle = (/** @type {string} */ name) => {
		if (!only.delete(name)) only.add(name);
		changed(only.has("Archived"));
	};
	const chips = names.map((name) => {
		const chip = button(name.replace("@", ""), () => toggle(name), "chip");
		chip.setAttribute("aria-pressed", String(only.has(name)));
		return chip;
	});
	const focused = [...at.children].indexOf(/** @type {Element} */ (document.activeElement));
	at.replaceChildren(...chips);
	if (focused >= 0) chips[focused]?.focus();
}
