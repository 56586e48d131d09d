// The inbox: what waits for the person, what runs, and the other sessions by project, with search. On a wide screen it is
// beside the conversation.

import { NOT_LOADED, button, el, icon, setAttr, setText } from "../dom.js";
import { rowView } from "./row.js";

/** @typedef {{open: string | null, reading: boolean, loaded: boolean, ready: boolean, live: boolean}} How */

/** The first sections. The projects follow. */
const WAITING = "Needs you";
const RUNNING = "Running";

/** Rows that are created per frame, so that no drawing takes long. */
const AT_ONCE = 12;

export class ListView {
	/** @param {ListActs} acts */
	constructor(acts) {
		this.acts = acts;
		this.query = el("input", {
			type: "search",
			"aria-label": "Search",
			placeholder: "Search",
			enterkeyhint: "search",
			autocomplete: "off",
		});
		const form = el("form.search", { role: "search" }, icon("search"), this.query);
		form.onsubmit = (event) => {
			event.preventDefault();
			this.#search();
		};
		this.query.oninput = () => !this.query.value && this.results.replaceChildren();
		this.create = button("New session", () => acts.create(), "primary");
		this.create.prepend(icon("plus"));
		this.filters = el("div.filters", { role: "group", "aria-label": "Show", hidden: true });
		this.results = el("div.results");
		this.empty = el("p.hint");
		this.sections = el("div");
		this.nav = el("nav", { "aria-label": "Sessions" }, this.sections, this.empty);
		this.nav.addEventListener(
			"touchstart",
			async (event) => {
				// If it does not load, the next touch tries again.
				const part = await import("./swipe.js").catch(() => null);
				part?.follow(event, (id) => this.known.find((one) => one.session_id === id), acts.organize);
			},
			{ passive: true },
		);
		this.welcome = el("div.narrow");
		this.start = el("div.start");
		this.node = el(
			"aside.side",
			{ "aria-label": "Inbox" },
			el("div.scroll", el("div.tools-row", form, this.create), this.filters, this.results, this.nav, this.welcome),
			this.start,
		);
		/** @type {Map<string, import("./row.js").Row>} */
		this.rows = new Map();
		/** @type {Map<string, {node: HTMLElement, list: HTMLElement}>} by title */
		this.groups = new Map();
		/** @type {SessionInfo[]} */
		this.known = [];
		/** @type {Set<string>} */
		this.only = new Set();
		/** @type {[HTMLElement, SessionInfo][]} rows that the next frames make */
		this.due = [];
		/** Whether one of those belongs before rows that already exist. */
		this.mixed = false;
		/** @type {How} */
		this.how = { open: null, reading: false, loaded: false, ready: false, live: false };
	}

	/** @param {SessionInfo[]} sessions newest first @param {How} how */
	update(sessions, how) {
		this.known = sessions;
		this.how = how;
		const waits = this.due.length > 0;
		this.due = [];
		this.mixed = false;
		this.create.disabled = !how.ready;
		this.#filter(sessions);
		const shown = sessions.filter((one) => this.#passes(one));
		this.empty.hidden = shown.length > 0;
		setText(
			this.empty,
			sessions.length ? "Nothing here." : how.loaded || !how.live ? "No sessions yet." : "Looking for sessions …",
		);
		this.#drop(new Set(shown.map((one) => one.session_id)));
		let made = 0;
		this.#arrange(shown, () => ++made <= AT_ONCE);
		if (this.due.length && !waits) this.#soon();
	}

	#soon() {
		const go = () => {
			for (const [list, one] of this.due.splice(0, AT_ONCE)) list.append(this.#row(one).node);
			if (this.due.length) this.#soon();
			else if (this.mixed) this.acts.redraw(false);
		};
		if (document.visibilityState === "visible") requestAnimationFrame(go);
		else setTimeout(go);
	}

	/** @param {Set<string>} ids those that stay */
	#drop(ids) {
		for (const [id, row] of this.rows) {
			if (ids.has(id)) continue;
			row.node.remove();
			this.rows.delete(id);
		}
	}

	/** @param {SessionInfo[]} sessions @param {() => boolean} mayMake whether one more row may be made now */
	#arrange(sessions, mayMake) {
		/** @type {Map<string, SessionInfo[]>} */
		const groups = new Map([
			[WAITING, []],
			[RUNNING, []],
		]);
		const pinned = sessions.filter((one) => one.pinned);
		if (pinned.length) groups.set("Pinned", []);
		for (const one of sessions) {
			const title =
				one.state === "waiting" ? WAITING : one.state === "running" ? RUNNING : one.pinned ? "Pinned" : projectOf(one);
			const group = groups.get(title);
			if (group) group.push(one);
			else groups.set(title, [one]);
		}
		const only = [...groups.values()].filter((all) => all.length).length === 1;
		let at = /** @type {HTMLElement | null} */ (this.sections.firstChild);
		const next = () => (at = /** @type {HTMLElement | null} */ (at?.nextSibling ?? null));
		for (const [title, all] of groups) {
			if (!all.length) continue;
			const group = this.#group(title);
			// An empty section stays: to move the others before it would move them all.
			while (at?.hidden) next();
			setAttr(
				/** @type {Element} */ (group.node.firstElementChild),
				"class",
				only && title === OTHERS ? "unseen" : "label",
			);
			if (group.node === at) next();
			else this.sections.insertBefore(group.node, at);
			this.#fill(group.list, all, mayMake);
		}
		for (const [title, group] of this.groups) group.node.hidden = !groups.get(title)?.length;
	}

	/** @param {string} title */
	#group(title) {
		let group = this.groups.get(title);
		if (!group) {
			const list = el("ul");
			group = { node: el("section", el("h2", title), list), list };
			this.groups.set(title, group);
		}
		return group;
	}

	/** @param {HTMLElement} list @param {SessionInfo[]} sessions @param {() => boolean} mayMake */
	#fill(list, sessions, mayMake) {
		let at = list.firstChild;
		let skipped = false;
		for (const one of sessions) {
			if (!this.rows.has(one.session_id) && !mayMake()) {
				this.due.push([list, one]);
				skipped = true;
				continue;
			}
			this.mixed ||= skipped;
			const { node } = this.#row(one);
			if (node === at) at = at.nextSibling;
			else this.#place(list, node, at);
		}
	}

	/** @param {SessionInfo} one */
	#row(one) {
		const { session_id: id } = one;
		const { open, reading } = this.how;
		let row = this.rows.get(id);
		if (!row) this.rows.set(id, (row = rowView(id)));
		row.update(one, id === open, reading);
		this.acts.needs(row.more, one, id === open);
		return row;
	}

	/** Moving an element takes the focus from its content. @param {HTMLElement} list @param {HTMLElement} node @param {ChildNode | null} before */
	#place(list, node, before) {
		const focused = node.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
		list.insertBefore(node, before);
		focused?.focus();
	}

	// ---- filters ----

	/** @param {SessionInfo} one */
	#passes(one) {
		const agents = [...this.only].filter((name) => name.startsWith("@"));
		return (
			(!this.only.has("Unread") || Boolean(one.unread)) &&
			(!agents.length || agents.includes(`@${one.agent_type}`)) &&
			Boolean(one.archived) === this.only.has("Archived")
		);
	}

	/** Chips that hide sessions, once there is something to distinguish. @param {SessionInfo[]} sessions */
	async #filter(sessions) {
		const few =
			sessions.length < 2 ||
			!sessions.some((one) => one.unread || one.archived !== undefined || one.agent_type !== sessions[0]?.agent_type);
		if (few && !this.only.size) return;
		const part = await import("./filters.js").catch(() => null); // the next change of the list tries again
		part?.drawFilters(this.filters, sessions, this.only, (archived) => this.acts.redraw(archived));
	}

	async #search() {
		const part = await import("./hits.js").catch(() => null);
		if (part) await part.search(this.query, this.results, this.known, this.acts.search);
		else this.results.replaceChildren(el("p.hint", NOT_LOADED));
	}
}

const OTHERS = "Sessions";

/** The section of a session that neither waits nor runs. @param {SessionInfo} one */
function projectOf({ workspace }) {
	return workspace ? (workspace.replace(/\/+$/, "").split("/").pop() ?? workspace) : OTHERS;
}
