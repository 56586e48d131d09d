// Where a person writes: text, files, voice. The text is the session's draft on every device.

import { NOT_LOADED, button, el, iconButton, moreStyles, setAttr, setText, sizeText } from "../dom.js";

/** The server's limit. */
const MAX_TEXT_BYTES = 256 * 1024;

/** Whether speech recognition works here. An installed app on iOS has the interface but refuses to listen. */
const canHear =
	window.isSecureContext &&
	typeof (/** @type {any} */ (window).SpeechRecognition ?? /** @type {any} */ (window).webkitSpeechRecognition) ===
		"function" &&
	!(/** @type {any} */ (navigator).standalone);

export class ComposerView {
	/** @param {(text: string) => void} say */
	constructor(say) {
		this.say = say;
		/** @type {OpenSession | null} */
		this.session = null;
		/** @type {OutFile[]} */
		this.files = [];
		this.running = false;
		this.canSteer = true;
		this.text = el("textarea", { rows: 1, "aria-label": "Message", placeholder: "Message", enterkeyhint: "enter" });
		this.picker = el("input", { type: "file", multiple: true, hidden: true, tabindex: -1, "aria-hidden": "true" });
		this.chips = el("div.chips", { hidden: true });
		this.offer = el("div.offer", { hidden: true });
		this.waiting = el("div.waits", { hidden: true });
		this.attach = iconButton("Attach file", "plus", () => this.picker.click());
		this.mode = button("", () => this.choose?.(), "quiet mode");
		this.settings = el("div.settings", this.mode);
		this.dictate = iconButton("Dictate", "mic", () => this.#dictate());
		this.stop = iconButton("Stop", "stop", () => this.session?.interrupt(), "danger");
		this.steer = button("Steer now", () => this.#send("steer"), "quiet");
		this.steer.title = "Put this into the running turn";
		this.go = iconButton("Send", "send", () => this.#send("queue"), "primary");
		this.hint = el(
			"p.hint",
			{ hidden: true },
			/Mac|iP(ad|hone)/.test(navigator.userAgent) ? "⌘ Enter sends." : "Ctrl Enter sends.",
		);
		this.watching = el("p.hint", { hidden: true }, "View only: this device can't send messages.");
		this.box = el(
			"div.box",
			this.text,
			el(
				"div.row",
				this.attach,
				this.picker,
				this.settings,
				canHear ? this.dictate : null,
				this.steer,
				this.stop,
				this.go,
			),
		);
		this.node = el(
			"form.composer",
			{ "aria-label": "Write" },
			this.waiting,
			this.offer,
			this.chips,
			this.box,
			this.hint,
			this.watching,
		);
		this.#listen();
	}

	#listen() {
		this.node.onsubmit = (event) => event.preventDefault();
		this.text.onfocus = () => this.session?.warm();
		this.text.oninput = () => {
			this.session?.warm();
			this.session?.setDraft(this.text.value);
			this.#drawOffer();
			this.#fit();
			if (this.mention) this.mention.update();
			else if (this.text.value.includes("@")) this.#mention();
		};
		this.text.onkeydown = (event) => this.#onKey(event);
		this.text.onpaste = (event) => {
			const files = [...(event.clipboardData?.files ?? [])];
			if (files.length) event.preventDefault();
			this.add(files);
		};
		this.picker.onchange = () => {
			this.add([...(this.picker.files ?? [])]);
			this.picker.value = "";
		};
	}

	/** Load the search of files. */
	async #mention() {
		const [part] = await Promise.all([import("./mention.js"), moreStyles()]).catch(() => []); // the next key tries again
		if (part) (this.mention ??= new part.MentionView(this)).update();
	}

	/** @type {import("./mention.js").MentionView | undefined} */
	mention = undefined;

	/** @param {KeyboardEvent} event */
	#onKey(event) {
		const touch = matchMedia("(pointer: coarse)").matches;
		// Only on a hardware keyboard: there it can send, and Enter stays a new line.
		if (touch && /^(Arrow|Tab|Escape|Meta|Control)/.test(event.key)) this.hint.hidden = false;
		// 229: the Enter that ends a composition. Safari reports it after the composition's end.
		if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
		if (touch && !event.metaKey && !event.ctrlKey) return;
		event.preventDefault();
		this.#send("queue");
	}

	/** @param {OpenSession} session */
	show(session) {
		this.session = session;
		this.files = [];
		session.chosen().then((files) => {
			if (this.session !== session || !files.length) return;
			this.files = [...files, ...this.files];
			this.#drawFiles();
		});
		this.#drawFiles();
		this.text.value = session.draft.text;
		this.#drawOffer();
		this.#fit();
	}

	/** @param {{running: boolean, mayDrive: boolean, canSteer: boolean, setting: string}} how */
	update({ running, mayDrive, canSteer, setting }) {
		this.running = running;
		this.canSteer = canSteer;
		setAttr(this.node, "data-may", String(mayDrive));
		this.watching.hidden = mayDrive;
		this.mode.hidden = !setting;
		setText(this.mode, setting);
		setAttr(this.mode, "aria-label", `Mode and model: ${setting}`);
		for (const one of [this.text, this.attach, this.dictate, this.go, this.steer, this.stop]) one.disabled = !mayDrive;
		const { session } = this;
		if (session && this.text.value !== session.draft.text && !this.hearing) {
			this.text.value = session.draft.text;
			this.#fit();
		}
		this.#drawOffer();
		this.#buttons();
	}

	/** One button for the next action: stop while there is nothing to send, else send. */
	#buttons() {
		const empty = !this.text.value.trim() && !this.files.length;
		this.stop.hidden = !this.running;
		this.go.hidden = this.running && empty;
		this.steer.hidden = !this.running || empty || !this.canSteer;
		setAttr(this.go, "title", this.running ? "Send: runs after this turn" : "Send");
		setAttr(this.stop, "data-main", String(this.go.hidden));
	}

	/** Show a person who is writing that a question waits. @param {string} text @param {() => void} [answer] */
	waits(text, answer) {
		this.waiting.hidden = !text;
		this.waiting.replaceChildren(...(text ? [el("span", text), button("Answer", () => answer?.(), "quiet")] : []));
	}

	#drawOffer() {
		const draft = this.session?.draft;
		const text = draft?.offer ?? "";
		if (text === this.offered) return;
		this.offered = text;
		this.offer.hidden = !text;
		if (!draft || !text) return;
		const take = (/** @type {() => void} */ act) => () => {
			act();
			this.text.value = draft.text;
			this.#drawOffer();
			this.#fit();
		};
		this.offer.replaceChildren(
			el("span", el("small", "Another device is writing: "), text.slice(0, 200)),
			button(
				"Use it",
				take(() => draft.accept()),
				"quiet",
			),
			iconButton(
				"Keep mine",
				"close",
				take(() => draft.decline()),
			),
		);
	}

	offered = "";

	focus() {
		// On a phone this would open the keyboard over what the person wants to read.
		if (matchMedia("(pointer: fine)").matches) this.text.focus({ preventScroll: true });
	}

	/** Append a text to the box's content. @param {string} text */
	put(text) {
		const { value } = this.text;
		this.text.value = value.trim() ? `${value}\n${text}` : text;
		this.session?.setDraft(this.text.value);
		this.#fit();
		this.text.focus();
	}

	#fit() {
		this.text.style.height = "auto"; // it stays so while empty: the placeholder may wrap if there is little room
		if (this.text.value) this.text.style.height = `${this.text.scrollHeight}px`;
		this.#buttons();
	}

	/** @param {File[]} files */
	async add(files) {
		const { session } = this;
		const part = await import("../upload.js").catch(() => null);
		if (this.session !== session) return;
		if (!part) this.say(NOT_LOADED);
		else if (await part.read(this, files)) this.#chose();
	}

	#chose() {
		this.session?.choose(this.files);
		this.#drawFiles();
	}

	#drawFiles() {
		this.chips.hidden = !this.files.length;
		this.chips.replaceChildren(
			...this.files.map((file) =>
				el(
					"span.file",
					el("span", file.name),
					el("small", ` · ${sizeText(file.size)}`),
					iconButton(`Remove ${file.name}`, "close", () => {
						this.files = this.files.filter((one) => one !== file);
						this.#chose();
					}),
				),
			),
		);
		this.#buttons();
	}

	/** @param {string} when */
	sendLater(when) {
		this.#send("queue", when);
	}

	/** @param {"queue" | "steer"} mode @param {string} [later] when it is to run */
	#send(mode, later) {
		const content = this.text.value.trim() ? this.text.value : "";
		const { session, files } = this;
		if (!session || (!content && !files.length)) return;
		if (new TextEncoder().encode(JSON.stringify(content)).length > MAX_TEXT_BYTES) {
			this.say("This message is too long. Attach it as a file.");
			return;
		}
		this.files = [];
		this.text.value = "";
		session.setDraft("");
		session.choose([]);
		this.hush?.();
		session.send(content, files, mode, later ? { later } : {}).catch(() => {
			this.put(content);
			this.files = [...files, ...this.files];
			this.#chose();
			this.say("Couldn't save this message. Reload the page and send again.");
		});
		this.#fit();
		this.#drawFiles();
		this.sent?.();
	}

	/** @type {(() => void) | undefined} called after each message */
	sent = undefined;
	/** @type {(() => void) | undefined} lets the person choose mode and model */
	choose = undefined;
	/** @type {(() => void) | undefined} ends the dictation */
	hush = undefined;
	hearing = false;

	async #dictate() {
		const part = await import("../voice.js").catch(() => null);
		if (part) part.dictate(this);
		else this.say(NOT_LOADED);
	}

	/** The text box has changed by other means than keys. */
	changed() {
		this.session?.setDraft(this.text.value);
		this.#fit();
	}
}
