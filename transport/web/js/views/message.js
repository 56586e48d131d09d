// A person's message in the log.

import { button, clockTime, el, icon, setAttr, setText, sizeText } from "../dom.js";
import { deviceId } from "../identity.js";

/** Characters and lines of a message that are drawn until the person asks for all of it. */
const FOLD_CHARS = 1500;
const FOLD_LINES = 24;

/** @param {FileShown} file @param {Acts["save"]} save */
function fileLink(file, save) {
	const size = file.size === undefined ? "" : ` · ${sizeText(file.size)}`;
	const named = [icon("clip"), file.filename, el("small", size)];
	if (!file.url) return el("span.file", ...named);
	const to = new URL(file.url, location.href);
	const href = to.pathname + to.search;
	// An installed app on a phone shows a file over itself, without a way back. There the system gets the file instead.
	const onclick = (/** @type {Event} */ event) => {
		if (!matchMedia("(display-mode: standalone)").matches || !navigator.share) return;
		event.preventDefault();
		save(href, file.filename);
	};
	const link = el("a.file", { href, target: "_blank", rel: "noopener", onclick }, ...named);
	if (file.mime_type?.startsWith("image/")) link.prepend(el("img", { src: href, alt: "", loading: "lazy" }));
	return link;
}

/** The first part of a long text, or all of a short one. @param {string} text */
function beginning(text) {
	const lines = text.split("\n", FOLD_LINES + 1);
	const part = lines.length > FOLD_LINES ? lines.slice(0, FOLD_LINES).join("\n") : text;
	return part.length > FOLD_CHARS ? part.slice(0, FOLD_CHARS) : part;
}

export class UserView {
	/** @param {Acts} acts */
	constructor(acts) {
		this.acts = acts;
		this.text = el("div.text");
		this.whole = button("", () => this.#unfold(), "quiet more");
		this.whole.hidden = true;
		this.files = el("div.files");
		this.state = el("p.state");
		this.who = el("h2.who");
		this.node = el(
			"article",
			{ "data-role": "user", tabindex: -1 },
			this.who,
			this.text,
			this.whole,
			this.files,
			this.state,
		);
		this.told = "";
		this.said = "";
		this.open = false;
	}

	/** @param {UserEntry} entry */
	update(entry) {
		this.#show(entry.device, entry.at, entry.text, entry.files);
		const { messageId } = entry;
		const quiet = (/** @type {string} */ label, /** @type {() => void} */ act) => button(label, act, "quiet");
		const back = quiet("Take back", () => this.acts.takeBack(messageId));
		const edit = quiet("Edit", () => this.acts.editQueued(entry));
		const now = entry.later ? [quiet("Send now", () => this.acts.sendNow(messageId))] : [];
		/** @type {Record<string, [string, ...HTMLElement[]]>} */
		const states = {
			queued: entry.later ? [`queued for ${clockTime(entry.later)}`, ...now, back, edit] : ["queued", back, edit],
			cancelled: ["cancelled"],
			failed: [this.acts.hasAnswer(entry.turn) ? "" : "failed"],
			unknown: [
				"Couldn't confirm that the agent got this.",
				quiet("Retry", () => this.acts.resolve(messageId, "retry")),
				quiet("Discard", () => this.acts.resolve(messageId, "discard")),
			],
		};
		const [text = "", ...buttons] =
			states[entry.state] ??
			(this.acts.mayFork() ? ["", button("Edit and send again", () => this.acts.forkAt(entry), "quiet again")] : []);
		this.#state(entry.state, text, this.acts.mayDrive() ? buttons : []);
	}

	/** @param {OutMessage} message */
	updateWaiting(message) {
		const files = message.files.map(({ name, size }) => ({ filename: name, size }));
		this.#show(deviceId(), message.at, message.content, files);
		const discard = button("Discard", () => this.acts.discard(message), "quiet");
		if (message.state === "failed") {
			this.#state("refused", `not sent: ${message.reason ?? ""}`, [
				button("Retry", () => this.acts.retrySending(message), "quiet"),
				discard,
			]);
		} else {
			const going = this.acts.going(message);
			const waits = this.acts.waits() + (this.acts.keeps() ? "" : " · lost if you close this page");
			this.#state(going ? "going" : "waiting", going || waits, going ? [] : [discard]);
		}
	}

	/** @param {string | null} device @param {string} at @param {string} text @param {FileShown[]} files */
	#show(device, at, text, files) {
		if (text !== this.said) {
			this.said = text;
			const first = this.open ? text : beginning(text);
			setText(this.text, first.length < text.length ? `${first} …` : text);
			this.text.hidden = !text;
			this.whole.hidden = first.length === text.length;
			setText(this.whole, `Show all · ${sizeText(text.length)}`);
		}
		const label = this.acts.nameOf(device);
		const told = JSON.stringify([label, at, files]);
		if (told === this.told) return;
		this.told = told;
		const mine = device === deviceId();
		const when = clockTime(at);
		setAttr(this.node, "aria-label", `${mine ? "You" : label}, ${when}`);
		this.who.replaceChildren(
			mine ? "You" : label,
			...(mine ? [el("span.unseen", ` · ${label}`)] : []),
			el("time", { datetime: at }, when),
		);
		this.files.replaceChildren(...files.map((one) => fileLink(one, this.acts.save)));
	}

	#unfold() {
		this.open = true;
		setText(this.text, this.said);
		this.text.classList.add("whole");
		this.text.tabIndex = 0;
		this.text.focus({ preventScroll: true });
		this.whole.hidden = true;
	}

	/** @param {string} state @param {string} text @param {HTMLElement[]} buttons */
	#state(state, text, buttons) {
		const changed =
			this.node.getAttribute("data-state") !== state || (this.state.querySelector("span")?.textContent ?? "") !== text;
		if (!changed && buttons.length === this.state.querySelectorAll("button").length) return;
		setAttr(this.node, "data-state", state);
		this.state.replaceChildren(...(text ? [el("span", text)] : []), ...buttons);
	}
}
