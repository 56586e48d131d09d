// The list of sessions with its search; on a wide screen it stands beside the conversation.

import { button, clockTime, el, icon, setAttr, setText } from "../dom.js";

export class ListView {
	/** @param {ListActs} acts */
	constructor(acts) {
		this.acts = acts;
		this.query = el("input", { type: "search", "aria-label": "Search", placeholder: "Search", enterkeyhint: "search", autocomplete: "off" });
		const form = el("form.search", { role: "search" }, icon("search"), this.query);
		form.onsubmit = (event) => {
			event.preventDefault();
			this.#search();
		};
		this.query.oninput = () => !this.query.value && this.results.replaceChildren();
		this.create = button("New session", () => acts.create(), "primary");
		this.create.prepend(icon("plus"));
		this.results = el("div.results");
		this.items = el("ul");
		this.empty = el("p.hint");
		this.nav = el("nav", { "aria-label": "Sessions" }, this.items, this.empty);
		this.pair = button("Pair a device", () => acts.pair(), "quiet");
		this.pair.prepend(icon("phone"));
		this.foot = el("footer", this.pair, button("Sign out", () => acts.signOut(), "quiet"));
		this.welcome = el("div.narrow");
		this.node = el("aside.side", form, this.create, this.results, this.nav, this.welcome, this.foot);
		/** @type {Map<string, {node: HTMLElement, link: HTMLAnchorElement, update: (one: SessionInfo, open: boolean, reading: boolean) => void}>} */
		this.rows = new Map();
		/** @type {SessionInfo[]} */
		this.known = [];
	}

	/** @param {SessionInfo[]} sessions newest first @param {{open: string | null, reading: boolean, loaded: boolean, ready: boolean, live: boolean, may: (scope: "drive" | "admin") => boolean}} how */
	update(sessions, { open, reading, loaded, ready, live, may }) {
		this.known = sessions;
		this.create.disabled = !ready;
		this.pair.hidden = !may("admin");
		this.empty.hidden = sessions.length > 0;
		setText(this.empty, loaded || !live ? "No sessions yet." : "Looking for sessions …");
		const ids = new Set(sessions.map((one) => one.session_id));
		for (const [id, row] of this.rows) {
			if (ids.has(id)) continue;
			row.node.remove();
			this.rows.delete(id);
		}
		let at = this.items.firstChild;
		for (const one of sessions) {
			const row = this.rows.get(one.session_id) ?? this.#row(one.session_id);
			row.update(one, one.session_id === open, reading);
			if (row.node === at) at = at.nextSibling;
			else this.#place(row.node, at);
		}
	}

	/** Moving an element takes the focus from what is in it. @param {HTMLElement} node @param {ChildNode | null} before */
	#place(node, before) {
		const focused = node.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
		this.items.insertBefore(node, before);
		focused?.focus();
	}

	/** @param {string} id */
	#row(id) {
		const title = el("span.title");
		const agent = el("span.agent");
		const state = el("span.word");
		const at = el("time");
		const unread = el("span.unread");
		const link = el("a", { href: `#/s/${id}` }, title, unread, el("span.meta", agent, " · ", state, " · ", at));
		const node = el("li", link);
		const update = (/** @type {SessionInfo} */ one, /** @type {boolean} */ open, /** @type {boolean} */ reading) => {
			const unseen = open && reading ? 0 : (one.unread ?? 0);
			setText(title, one.title || id);
			setText(agent, one.agent_type);
			setText(state, one.state);
			setText(at, clockTime(one.last_activity));
			setAttr(at, "datetime", one.last_activity);
			setAttr(link, "data-state", one.state);
			setAttr(link, "data-unread", String(unseen));
			setText(unread, `${unseen} unread`);
			if (open) setAttr(link, "aria-current", "page");
			else link.removeAttribute("aria-current");
		};
		const row = { node, link, update };
		this.rows.set(id, row);
		return row;
	}

	async #search() {
		const query = this.query.value.trim();
		this.results.replaceChildren();
		if (!query) return;
		try {
			const hits = await this.acts.search(query);
			const close = button("Clear", () => this.#clear(), "quiet");
			const list = el("ul", { "aria-label": "Search results" }, ...hits.map((hit) => this.#hit(hit)));
			this.results.replaceChildren(el("p.label", { "aria-live": "polite" }, hits.length ? `${hits.length} found` : "Nothing found", close), list);
		} catch (error) {
			this.results.replaceChildren(el("p", { role: "alert" }, error instanceof Error ? error.message : "The search did not work."));
		}
	}

	#clear() {
		this.query.value = "";
		this.results.replaceChildren();
		this.query.focus();
	}

	/** @param {Hit} hit */
	#hit(hit) {
		const title = this.known.find((one) => one.session_id === hit.session_id)?.title || hit.session_id;
		const who = hit.role === "user" ? "you" : hit.role === "tool" ? "tool" : "agent";
		const href = `#/s/${hit.session_id}?at=${hit.seq}`;
		// An address that is there already changes nothing, and the person may have scrolled away since.
		const onclick = () => location.hash === href && dispatchEvent(new Event("hashchange"));
		return el(
			"li",
			el(
				"a",
				{ href, onclick },
				el("span.snippet", hit.snippet),
				el("span.meta", `${title} · ${who} · ${clockTime(hit.timestamp)}`),
			),
		);
	}
}
