// `@` in the box: a search of the workspace's files. The chosen path goes into the message.

import { el, setAttr } from "../dom.js";

const AFTER_MS = 120;
/** Most files that are offered. */
const OFFERED = 8;

/** The text between an `@` and the caret; null if there is none. @param {HTMLTextAreaElement} box */
export function wordAt(box) {
	return /(?:^|\s)@([^\s@]{0,200})$/.exec(box.value.slice(0, box.selectionStart))?.[1] ?? null;
}

let count = 0;

export class MentionView {
	/** @param {import("./composer.js").ComposerView} composer */
	constructor(composer) {
		this.composer = composer;
		this.box = composer.text;
		this.node = el("ul.mentions", { role: "listbox", "aria-label": "Files", id: "mentions", hidden: true });
		this.chosen = 0;
		/** @type {string[]} */
		this.paths = [];
		/** The number of the newest search. Answers of older ones are ignored. */
		this.asked = 0;
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.timer = undefined;
		composer.box.before(this.node);
		setAttr(this.box, "aria-controls", "mentions");
		this.box.addEventListener("blur", () => this.close());
		this.box.addEventListener("keydown", (event) => this.#key(event), true);
	}

	/** The text or the caret changed. */
	update() {
		clearTimeout(this.timer);
		const word = wordAt(this.box);
		const asked = ++this.asked;
		if (!word) return this.close();
		this.timer = setTimeout(() => this.#search(word, asked), AFTER_MS);
	}

	/** @param {string} word @param {number} asked */
	async #search(word, asked) {
		const { session } = this.composer;
		if (!session) return;
		/** @type {{path: string, kind: string}[]} */
		let found = [];
		try {
			found = (
				await session.client.api.json(
					`/api/sessions/${encodeURIComponent(session.id)}/files?q=${encodeURIComponent(word)}`,
				)
			).entries;
		} catch {
			// without the server there is nothing to offer; the typed text stays
		}
		if (asked === this.asked && document.activeElement === this.box)
			this.#draw(found.slice(0, OFFERED).map((one) => one.path));
	}

	/** @param {string[]} paths */
	#draw(paths) {
		this.paths = paths;
		this.node.hidden = !paths.length;
		count += 1;
		this.node.replaceChildren(
			...paths.map((path, index) => {
				const row = el("li", { role: "option", id: `mention-${count}-${index}` }, path);
				row.onpointerdown = (event) => {
					event.preventDefault(); // the box keeps the focus, and a phone its keyboard
					this.#take(path);
				};
				return row;
			}),
		);
		this.#choose(0);
	}

	/** @param {number} index */
	#choose(index) {
		this.chosen = index;
		const rows = [...this.node.children];
		for (const [at, row] of rows.entries()) setAttr(row, "aria-selected", String(at === index));
		if (rows[index]) setAttr(this.box, "aria-activedescendant", rows[index].id);
		else this.box.removeAttribute("aria-activedescendant");
		rows[index]?.scrollIntoView({ block: "nearest" });
	}

	/** @param {KeyboardEvent} event */
	#key(event) {
		if (this.node.hidden || event.isComposing) return;
		const { length } = this.paths;
		const path = this.paths[this.chosen];
		if (event.key === "ArrowDown") this.#choose((this.chosen + 1) % length);
		else if (event.key === "ArrowUp") this.#choose((this.chosen + length - 1) % length);
		else if ((event.key === "Enter" || event.key === "Tab") && path) this.#take(path);
		else if (event.key === "Escape") this.close();
		else return;
		event.preventDefault();
		event.stopImmediatePropagation();
	}

	/** @param {string} path */
	#take(path) {
		const word = wordAt(this.box);
		if (word === null) return;
		const end = this.box.selectionStart;
		this.box.setRangeText(`${path} `, end - word.length, end, "end");
		this.box.dispatchEvent(new Event("input"));
		this.close();
	}

	close() {
		clearTimeout(this.timer);
		this.asked += 1;
		this.#draw([]);
	}
}
