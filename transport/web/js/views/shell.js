// The frame around everything: heading, connection, and room for the list and the conversation.

import { button, el, iconButton, icon, setAttr, setText } from "../dom.js";

/** How long a message stays, in milliseconds: longer for a long text, and as long as the pointer is on it. */
const PASSING_MS = 8000;
const PER_CHAR_MS = 60;

export class Shell {
	/** @param {HTMLElement} root @param {{details: () => void, back: (event: Event) => void, settings: () => void, pair: () => void, signOut: () => void, skip: () => void}} acts */
	constructor(root, acts) {
		this.root = root;
		this.title = el("h1");
		this.subtitle = el("p.subtitle");
		this.status = el("p", { role: "status", "aria-label": "Connection", class: "status" });
		this.back = el("a.round.back", { href: "#/", "aria-label": "Back", onclick: acts.back }, icon("back"));
		this.ring = el("span.ring", { role: "img", hidden: true });
		this.more = iconButton("Details", "more", acts.details);
		this.pair = iconButton("Pair a device", "phone", acts.pair);
		this.settings = iconButton("Settings", "gear", acts.settings);
		this.leave = iconButton("Sign out", "leave", acts.signOut);
		this.listed = el("div.listed", this.pair, this.settings, this.leave);
		this.spoken = el("div.unseen", { "aria-live": "polite" });
		this.toasts = el("div.toasts");
		this.notice = el("div.banner", { hidden: true });
		this.main = el("main");
		this.skip = button("Skip to the message box", () => acts.skip(), "skip");
		const heading = el(
			"div.heading",
			{ onclick: () => !this.more.hidden && acts.details() },
			this.title,
			this.subtitle,
		);
		this.bar = el("header.bar", this.back, heading, this.ring, this.more, this.listed);
		root.replaceChildren(
			this.skip,
			this.bar,
			el("div.under", this.status, this.notice),
			this.main,
			this.toasts,
			this.spoken,
		);
	}

	/** @param {"signin" | "list" | "session"} view @param {...Node} children */
	show(view, ...children) {
		setAttr(this.root, "data-view", view);
		this.skip.hidden = view !== "session";
		this.listed.hidden = view !== "list";
		const same =
			children.length === this.main.childNodes.length &&
			children.every((one, index) => this.main.childNodes[index] === one);
		if (!same) this.main.replaceChildren(...children);
	}

	/** @param {string} title @param {string} subtitle @param {number} unread */
	head(title, subtitle, unread = 0) {
		setText(this.title, title);
		setAttr(this.title, "title", title);
		setText(this.subtitle, subtitle);
		const named = `${unread ? `(${unread}) ` : ""}${title === "BuilderOS" ? title : `${title} – BuilderOS`}`;
		if (document.title !== named) document.title = named;
	}

	/** How full the agent's context is. @param {Gauge["context"]} [context] */
	context(context) {
		this.ring.hidden = !context?.window;
		if (!context?.window) return;
		const part = Math.min(100, Math.round((100 * context.used) / context.window));
		this.ring.style.setProperty("--part", `${part}%`);
		setAttr(this.ring, "aria-label", `${part} % of the context used`);
		setAttr(this.ring, "title", `${part} % of the context used`);
	}

	/** @param {string} text one of the contract's words */
	connection(text) {
		setText(this.status, text);
		setAttr(this.status, "data-state", text.split(" ")[0] ?? "");
	}

	/** Show a message for a short time. It stays readable while more come. @param {string} text */
	say(text) {
		for (const one of this.toasts.children) if (one.firstChild?.textContent === text) one.remove();
		const toast = el(
			"div.toast",
			el("p", { role: "alert" }, text),
			iconButton("Dismiss", "close", () => toast.remove()),
		);
		let timer = 0;
		const wait = () => {
			timer = setTimeout(() => toast.remove(), PASSING_MS + PER_CHAR_MS * text.length);
		};
		for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, () => clearTimeout(timer));
		for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, wait);
		wait();
		this.toasts.append(toast);
		while (this.toasts.children.length > 4) this.toasts.firstChild?.remove();
	}

	/** Announce a text to screen readers. @param {string} text */
	announce(text) {
		this.spoken.textContent = text;
	}

	/** A new version exists. It is used when the person agrees. @param {() => void} reload */
	offerUpdate(reload) {
		if (!this.notice.hidden) return;
		this.notice.hidden = false;
		this.notice.replaceChildren(el("span", "A new version is ready."), button("Reload", reload, "quiet"));
		this.announce("A new version is ready. Press Reload to use it.");
	}
}

/**
 * The name of the connection's state: judged by the heartbeats, not by the socket.
 * @param {{live: boolean, behind: number, networkSeen: boolean}} how
 */
export function connectionText({ live, behind, networkSeen }) {
	if (!live) return networkSeen ? "reconnecting" : "offline";
	return behind > 0 ? `behind by ${behind}` : "live";
}
