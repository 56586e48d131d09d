// One entry of the log: a person's message, an answer, or a line between them.

import { button, clockTime, el, icon, setAttr, setText, sizeText } from "../dom.js";
import { deviceId } from "../identity.js";
import { safeNodes } from "../sanitise.js";
import { canSpeak, hush, speak } from "../voice.js";
import { ToolView } from "./tool.js";

/** Tool calls of one answer that are not folded together. */
const TOOLS_SHOWN = 4;

/** @param {string} text @param {string} at */
function header(text, at) {
	return el("p.who", text, at ? el("time", { datetime: at }, clockTime(at)) : null);
}

/** @param {FileShown} file */
function fileLink(file) {
	const size = file.size === undefined ? "" : ` · ${sizeText(file.size)}`;
	const named = [icon("clip"), file.filename, el("small", size)];
	if (!file.url) return el("span.file", ...named);
	const to = new URL(file.url, location.href);
	const link = el("a.file", { href: to.pathname + to.search, target: "_blank", rel: "noopener" }, ...named);
	if (file.mime_type?.startsWith("image/")) link.prepend(el("img", { src: to.pathname + to.search, alt: "", loading: "lazy" }));
	return link;
}

export class UserView {
	/** @param {Acts} acts */
	constructor(acts) {
		this.acts = acts;
		this.text = el("div.text");
		this.files = el("div.files");
		this.state = el("p.state");
		this.who = header("", "");
		this.node = el("article", { "data-role": "user", tabindex: -1 }, this.who, this.text, this.files, this.state);
		this.told = "";
	}

	/** @param {UserEntry} entry */
	update(entry) {
		this.#show(this.acts.nameOf(entry.device), entry.at, entry.text, entry.files);
		const { messageId } = entry;
		/** @type {Record<string, [string, ...HTMLElement[]]>} */
		const states = {
			queued: ["queued", button("Take back", () => this.acts.takeBack(messageId), "quiet")],
			cancelled: ["cancelled"],
			failed: ["failed"],
			unknown: [
				"The agent may or may not have had this.",
				button("Retry", () => this.acts.resolve(messageId, "retry"), "quiet"),
				button("Discard", () => this.acts.resolve(messageId, "discard"), "quiet"),
			],
		};
		const [text = "", ...buttons] = states[entry.state] ?? [];
		this.#state(entry.state, text, this.acts.mayDrive() ? buttons : []);
	}

	/** @param {OutMessage} message */
	updateWaiting(message) {
		const files = message.files.map(({ name, size }) => ({ filename: name, size }));
		this.#show(this.acts.nameOf(deviceId()), message.at, message.content, files);
		const discard = button("Discard", () => this.acts.discard(message), "quiet");
		if (message.state === "failed") {
			this.#state("refused", `not sent: ${message.reason ?? ""}`, [button("Retry", () => this.acts.retrySending(message), "quiet"), discard]);
		} else {
			const going = this.acts.going(message);
			this.#state(going ? "going" : "waiting", going || "waiting to send", going ? [] : [discard]);
		}
	}

	/** @param {string} who @param {string} at @param {string} text @param {FileShown[]} files */
	#show(who, at, text, files) {
		const told = JSON.stringify([who, at, files]);
		setText(this.text, text);
		this.text.hidden = !text;
		if (told === this.told) return;
		this.told = told;
		const fresh = header(who, at);
		this.who.replaceWith(fresh);
		this.who = fresh;
		this.files.replaceChildren(...files.map(fileLink));
	}

	/** @param {string} state @param {string} text @param {HTMLElement[]} buttons */
	#state(state, text, buttons) {
		const changed = this.node.getAttribute("data-state") !== state || this.state.firstChild?.textContent !== text;
		if (!changed && buttons.length === this.state.querySelectorAll("button").length) return;
		setAttr(this.node, "data-state", state);
		this.state.replaceChildren(...(text ? [el("span", text), ...buttons] : []));
	}
}

export class AnswerView {
	/** @param {Acts} acts */
	constructor(acts) {
		this.acts = acts;
		this.who = el("p.who");
		this.thinking = el("pre");
		this.earlier = el("summary");
		this.folded = el("details.earlier", this.earlier);
		this.tools = el("div.tools", { hidden: true });
		this.body = el("div.body");
		this.ending = el("p.ending", { hidden: true });
		this.foot = el("p.foot", { hidden: true });
		const parts = [this.who, this.tools, this.body, this.ending, this.foot];
		this.node = el("article", { "data-role": "assistant", tabindex: -1 }, ...parts);
		/** @type {Map<string, ToolView>} */
		this.toolViews = new Map();
		/** @type {Text[]} one of each block, while the answer is plain */
		this.plain = [];
		/** @type {string | null} */
		this.html = null;
	}

	/** @param {AnswerEntry} entry */
	update(entry) {
		const running = entry.status === "running";
		this.entry = entry;
		setAttr(this.node, "data-state", entry.status);
		setAttr(this.node, "aria-busy", String(running));
		if (!this.who.firstChild) this.who.append(this.acts.agent(), el("time", { datetime: entry.at }, clockTime(entry.at)));
		if (entry.thinking.length) this.#thoughts(entry.thinking.map((one) => one.text).join("\n\n"));
		if (entry.tools.length) this.#tools(entry.tools);
		if (entry.html !== null && !running) this.#rendered(entry.html);
		else this.#growing(entry.blocks);
		setText(this.ending, entry.ending);
		this.ending.hidden = !entry.ending;
		if (!running && !this.foot.firstChild) this.#foot();
		this.foot.hidden = running || !entry.blocks.length;
	}

	/** @param {string} text */
	#thoughts(text) {
		if (!this.thinking.parentNode) this.who.after(el("details.thinking", el("summary", "Thinking"), this.thinking));
		setText(this.thinking, text);
	}

	/** Plain text only ever grows at its end, so what is on the screen stays where it is. @param {AnswerEntry["blocks"]} blocks */
	#growing(blocks) {
		if (this.html !== null) {
			this.html = null;
			this.plain = [];
			this.body.replaceChildren();
		}
		for (const [index, { text }] of blocks.entries()) {
			let node = this.plain[index];
			if (!node) {
				node = this.plain[index] = document.createTextNode("");
				this.body.append(el("div.plain", node));
			}
			if (text.length === node.length) continue;
			if (text.length > node.length && text.startsWith(node.data)) node.appendData(text.slice(node.length));
			else node.data = text;
		}
	}

	/** @param {string} html */
	#rendered(html) {
		if (this.html === html) return;
		this.html = html;
		this.body.replaceChildren(safeNodes(html));
	}

	/** @param {Tool[]} tools */
	#tools(tools) {
		for (const tool of tools) {
			const known = this.toolViews.get(tool.id);
			if (known) known.update(tool);
			else {
				const view = new ToolView(tool, this.acts.save);
				this.toolViews.set(tool.id, view);
				this.tools.append(view.node);
			}
		}
		this.tools.hidden = false;
		const shown = [...this.tools.children].filter((node) => node !== this.folded);
		const old = shown.slice(0, -TOOLS_SHOWN).filter((node) => !(/** @type {HTMLDetailsElement} */ (node).open));
		if (!old.length) return;
		this.tools.prepend(this.folded);
		this.folded.append(...old);
		const count = this.folded.children.length - 1;
		setText(this.earlier, `${count} earlier tool call${count === 1 ? "" : "s"}`);
	}

	/** The answer in words, for reading aloud and for the clipboard. */
	get words() {
		return (this.entry?.blocks ?? []).map((one) => one.text).join("\n\n");
	}

	#foot() {
		const read = el("button", { type: "button", class: "quiet", "aria-pressed": "false" }, icon("speak"), "Read aloud");
		const show = (/** @type {boolean} */ on) => read.setAttribute("aria-pressed", String(on));
		read.onclick = () => {
			if (read.getAttribute("aria-pressed") === "true") return hush();
			show(true);
			speak(this.html === null ? this.words : this.body.innerText, () => show(false));
		};
		const copy = el("button", { type: "button", class: "quiet" }, icon("copy"), "Copy");
		copy.onclick = () => {
			const done = navigator.clipboard?.writeText(this.words);
			if (done) done.then(() => this.acts.say("Copied."), () => this.acts.say("The browser does not let this page copy."));
			else this.acts.say("The browser lets pages copy over HTTPS only.");
		};
		this.foot.append(...(canSpeak ? [read] : []), copy);
	}
}

export class LineView {
	constructor() {
		this.node = el("p.line");
	}

	/** @param {LineEntry} entry */
	update(entry) {
		setAttr(this.node, "data-tone", entry.tone);
		if (this.node.textContent === entry.text) return;
		const [first = "", ...more] = entry.text.split("\n");
		this.node.replaceChildren(el("span", first), ...(more.length ? ["\n", el("small", more.join("\n"))] : []));
	}
}
