// One session in the inbox.

import { ago, clockTime, el, setAttr, setText } from "../dom.js";
import { machineWords, sessionName } from "../names.js";

export const ROW = "item";

/** @typedef {{node: HTMLElement, more: HTMLElement, update: (one: SessionInfo, open: boolean, reading: boolean) => void}} Row */

/** @param {string} id @returns {Row} */
export function rowView(id) {
	const title = el("span.title");
	const agent = el("span.agent");
	const state = el("span.word");
	const extra = el("span");
	const at = el("time");
	const unread = el("span.unread", { hidden: true });
	const link = el(
		"a",
		{ href: `#/s/${id}`, class: ROW },
		title,
		unread,
		el("span.meta", agent, el("span.sep", " · "), state, extra, " · ", at),
	);
	const more = el("div.needs", { hidden: true });
	const node = el("li", link, more);
	/** @type {unknown[]} the state that was drawn */
	let told = [];
	const update = (/** @type {SessionInfo} */ one, /** @type {boolean} */ open, /** @type {boolean} */ reading) => {
		const now = [one, open, reading, Math.floor(Date.now() / 60_000)];
		if (now.every((part, index) => part === told[index])) return;
		told = now;
		const unseen = open && reading ? 0 : (one.unread ?? 0);
		setText(title, sessionName(one.title, id));
		setAttr(title, "title", one.title || id);
		setText(agent, one.agent_type);
		setText(state, one.state);
		const { plan, held, machine } = one;
		const words = [
			plan?.total ? `to-do ${plan.done}/${plan.total}` : "",
			held?.code ? "queue waits" : "",
			machineWords(machine),
		];
		setText(extra, words.map((word) => word && ` · ${word}`).join(""));
		setText(at, ago(one.last_activity));
		setAttr(at, "datetime", one.last_activity);
		setAttr(at, "title", clockTime(one.last_activity));
		setAttr(link, "data-state", one.state);
		setAttr(link, "data-unread", String(unseen));
		unread.hidden = unseen === 0;
		setText(unread, `${unseen} unread`);
		if (open) setAttr(link, "aria-current", "page");
		else link.removeAttribute("aria-current");
	};
	return { node, more, update };
}
