// The chips above the inbox: which sessions are shown.

import { button } from "../dom.js";

/**
 * @param {HTMLElement} at @param {SessionInfo[]} sessions @param {Set<string>} only the chosen chips; agents begin with @
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
	const old = new Map([...at.children].map((one) => [/** @type {HTMLElement} */ (one).dataset.name ?? "", one]));
	for (const [name, chip] of old) if (!names.includes(name)) chip.remove();
	for (const [index, name] of names.entries()) {
		const chip = old.get(name) ?? button(name.replace("@", ""), () => toggle(name), "chip");
		chip.setAttribute("data-name", name);
		chip.setAttribute("aria-pressed", String(only.has(name)));
		if (at.children[index] !== chip) at.insertBefore(chip, at.children[index] ?? null);
	}
}
