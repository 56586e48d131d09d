// The frame around everything: heading, connection, and room for the list and the conversation.

import { el, iconButton, icon, setAttr, setText } from "../dom.js";

/** How long a passing word stays, in milliseconds. */
const PASSING_MS = 6000;

export class Shell {
	/** @param {HTMLElement} root @param {{details: () => void}} acts */
	constructor(root, acts) {
		this.root = root;
		this.title = el("h1");
		this.subtitle = el("p.subtitle");
		this.status = el("span", { role: "status", "aria-label": "Connection", class: "status" });
		this.back = el("a.round.back", { href: "#/", "aria-label": "Back" }, icon("back"));
		this.more = iconButton("Details", "more", acts.details);
		this.spoken = el("div.unseen", { "aria-live": "polite" });
		this.passing = el("p.passing", { hidden: true, role: "alert" });
		this.main = el("main");
		this.bar = el("header.bar", this.back, el("div.heading", this.title, this.subtitle), this.status, this.more);
		root.replaceChildren(this.bar, this.main, this.passing, this.spoken);
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.timer = undefined;
	}

	/** @param {"signin" | "list" | "session"} view @param {...Node} children */
	show(view, ...children) {
		setAttr(this.root, "data-view", view);
		const same = children.length === this.main.childNodes.length && children.every((one, index) => this.main.childNodes[index] === one);
		if (!same) this.main.replaceChildren(...children);
	}

	/** @param {string} title @param {string} subtitle */
	head(title, subtitle) {
		setText(this.title, title);
		setText(this.subtitle, subtitle);
		const named = title === "BuilderOS" ? title : `${title} – BuilderOS`;
		if (document.title !== named) document.title = named;
	}

	/** @param {string} text one of the contract's words */
	connection(text) {
		setText(this.status, text);
		setAttr(this.status, "data-state", text.split(" ")[0] ?? "");
	}

	/** Tell the person something in passing. @param {string} text */
	say(text) {
		this.passing.hidden = false;
		this.passing.textContent = text;
		clearTimeout(this.timer);
		this.timer = setTimeout(() => (this.passing.hidden = true), PASSING_MS);
	}

	/** For those who listen. @param {string} text */
	announce(text) {
		this.spoken.textContent = text;
	}
}

/**
 * What the connection is called: fresh as of the heartbeats, not as of the socket.
 * @param {{live: boolean, behind: number, networkSeen: boolean}} how
 */
export function connectionText({ live, behind, networkSeen }) {
	if (!live) return networkSeen ? "reconnecting" : "offline";
	return behind > 0 ? `behind by ${behind}` : "live";
}
