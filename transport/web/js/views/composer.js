// Where a person writes: text, files, voice; what is typed is the session's draft on every device.

import { el, iconButton, setAttr, sizeText } from "../dom.js";
import { canHear, listen } from "../voice.js";

/** What the server takes. */
const MAX_FILE_BYTES = 50_000_000;
const MAX_FILES = 32;
/** So long after a key another device's draft takes nobody's words away. */
const TYPING_MS = 1500;
const MAX_TEXT_BYTES = 256 * 1024;

export class ComposerView {
	/** @param {(text: string) => void} say */
	constructor(say) {
		this.say = say;
		/** @type {OpenSession | null} */
		this.session = null;
		/** @type {File[]} */
		this.files = [];
		this.text = el("textarea", { rows: 1, "aria-label": "Message", placeholder: "Message", enterkeyhint: "enter" });
		this.picker = el("input", { type: "file", multiple: true, hidden: true, tabindex: -1, "aria-hidden": "true" });
		this.chips = el("div.chips", { hidden: true });
		this.attach = iconButton("Attach file", "clip", () => this.picker.click());
		this.dictate = iconButton("Dictate", "mic", () => this.#dictate());
		this.stop = iconButton("Stop", "stop", () => this.session?.interrupt(), "danger");
		this.steer = iconButton("Steer", "steer", () => this.#send("steer"));
		this.steer.title = "Steer: put this into the running turn";
		this.go = iconButton("Send", "send", () => this.#send("queue"), "primary");
		this.node = el(
			"form.composer",
			this.chips,
			el("div.row", this.attach, this.picker, this.text, canHear ? this.dictate : null, this.steer, this.stop, this.go),
		);
		this.watching = el("p.hint", { hidden: true }, "This device may watch and not write.");
		this.node.append(this.watching);
		this.#listen();
	}

	#listen() {
		this.node.onsubmit = (event) => event.preventDefault();
		this.text.oninput = () => {
			this.typedAt = performance.now();
			this.session?.setDraft(this.text.value);
			this.#fit();
		};
		this.text.onkeydown = (event) => {
			const touch = matchMedia("(pointer: coarse)").matches;
			if (event.key !== "Enter" || event.shiftKey || event.isComposing || (touch && !event.metaKey && !event.ctrlKey)) return;
			event.preventDefault();
			this.#send("queue");
		};
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

	/** @param {OpenSession} session */
	show(session) {
		this.session = session;
		this.files = [];
		this.#drawFiles();
		this.text.value = session.draft;
		this.#fit();
	}

	/** @param {{running: boolean, mayDrive: boolean}} how */
	update({ running, mayDrive }) {
		this.stop.hidden = !running;
		this.steer.hidden = !running;
		setAttr(this.node, "data-may", String(mayDrive));
		this.watching.hidden = mayDrive;
		for (const one of [this.text, this.attach, this.dictate, this.go, this.steer, this.stop]) one.disabled = !mayDrive;
		const { session } = this;
		if (!session || session.draftIsOurs || this.text.value === session.draft) return;
		if (this.hearing || performance.now() - this.typedAt < TYPING_MS) {
			clearTimeout(this.later);
			this.later = setTimeout(() => session.client.views.session(), TYPING_MS);
		} else {
			this.text.value = session.draft;
			this.#fit();
		}
	}

	focus() {
		// On a phone this would open the keyboard over what the person came to read.
		if (matchMedia("(pointer: fine)").matches) this.text.focus({ preventScroll: true });
	}

	#fit() {
		this.text.style.height = "auto"; // and so it stays while empty: the placeholder may break where buttons leave little room
		if (this.text.value) this.text.style.height = `${this.text.scrollHeight}px`;
	}

	/** @param {File[]} files */
	add(files) {
		for (const file of files) {
			if (file.size > MAX_FILE_BYTES) this.say(`${file.name} is over ${sizeText(MAX_FILE_BYTES)}.`);
			else if (this.files.length >= MAX_FILES) this.say(`A message has at most ${MAX_FILES} files.`);
			else this.files.push(file);
		}
		this.#drawFiles();
	}

	#drawFiles() {
		this.chips.hidden = !this.files.length;
		this.chips.replaceChildren(
			...this.files.map((file) =>
				el(
					"span.file",
					file.name,
					el("small", ` · ${sizeText(file.size)}`),
					iconButton(`Remove ${file.name}`, "close", () => {
						this.files = this.files.filter((one) => one !== file);
						this.#drawFiles();
					}),
				),
			),
		);
	}

	/** @param {"queue" | "steer"} mode */
	#send(mode) {
		const content = this.text.value.trim() ? this.text.value : "";
		const { session } = this;
		if (!session || (!content && !this.files.length)) return;
		if (new TextEncoder().encode(JSON.stringify(content)).length > MAX_TEXT_BYTES) {
			this.say("This message is too long: attach it as a file.");
			return;
		}
		const files = this.files.map((file) => ({ name: file.name, type: file.type, size: file.size, blob: file }));
		this.files = [];
		this.text.value = "";
		this.#fit();
		this.#drawFiles();
		this.hush?.();
		session.send(content, files, mode).catch(() => {
			this.text.value ||= content; // the browser's database is full: the person still has the text
			this.say("This browser cannot keep the message.");
		});
		this.sent?.();
	}

	/** @type {(() => void) | undefined} told after each message */
	sent = undefined;
	/** @type {(() => void) | undefined} ends the dictation */
	hush = undefined;
	hearing = false;
	typedAt = -Infinity;
	later = 0;

	#dictate() {
		if (this.hearing) return this.hush?.();
		this.hearing = true;
		this.dictate.setAttribute("aria-pressed", "true");
		let before = this.text.value && !/\s$/.test(this.text.value) ? `${this.text.value} ` : this.text.value;
		this.hush = listen({
			heard: (text, isFinal) => {
				if (!this.hearing) return;
				this.text.value = before + text;
				if (isFinal) before = this.text.value;
				this.session?.setDraft(this.text.value);
				this.#fit();
			},
			ended: (trouble) => {
				this.hearing = false;
				this.dictate.setAttribute("aria-pressed", "false");
				if (trouble) this.say(trouble);
			},
		});
	}
}
