// The changes of a turn or of the whole session: a list of files, each with its patch.

import { ApiError } from "../api.js";
import { button, el, setAttr } from "../dom.js";
import { recall, remember } from "../identity.js";
import { filesText } from "../work.js";
import { commentOn } from "./comment.js";
import { showFile } from "./file.js";
import { WIDE, openPane } from "./pane.js";
import { drawPatch } from "./patch.js";

/** Up to this many lines the first files are open from the start. */
const OPEN_LINES = 300;

/** Show the changes of a turn, or of the session. @param {OpenSession} session @param {string | null} turn */
export function showChanges(session, turn) {
	const view = new ChangesView(session, turn);
	openPane("Changes", view.node);
	view.widen();
	view.load();
}

class ChangesView {
	/** @param {OpenSession} session @param {string | null} turn */
	constructor(session, turn) {
		this.session = session;
		this.turn = turn;
		/** The turn whose changes are shown; null for the whole session. */
		this.shown = turn;
		this.ofTurn = button("This turn", () => this.#show(turn), "quiet");
		this.ofAll = button("Whole session", () => this.#show(null), "quiet");
		/** Whether old and new text are side by side. Only a wide screen has room for that. */
		this.split = recall("split") !== null && matchMedia(WIDE).matches;
		this.beside = button("Side by side", () => this.#beside(), "quiet");
		this.beside.hidden = !matchMedia(WIDE).matches;
		this.sum = el("p.hint", { role: "status" });
		this.files = el("div");
		this.node = el(
			"div.changes",
			el("div.choice", ...(turn === null ? [] : [this.ofTurn, this.ofAll]), this.beside),
			this.sum,
			this.files,
		);
		/** Functions that draw the content of the rows again. @type {(() => void)[]} */
		this.fills = [];
		/** The checkpoints that are compared; null: the present files. @type {{from: string | null, to: string | null}} */
		this.ends = { from: null, to: null };
	}

	#beside() {
		this.split = !this.split;
		remember("split", this.split ? "1" : null);
		this.widen();
		for (const fill of this.fills) fill();
	}

	/** Give two columns the whole width. */
	widen() {
		setAttr(this.beside, "aria-pressed", String(this.split));
		this.node.closest(".third")?.classList.toggle("whole", this.split);
	}

	/** @param {string | null} turn */
	#show(turn) {
		this.shown = turn;
		this.load();
	}

	/** @param {string} [path] of one file, which then comes whole */
	async #fetch(path) {
		const query = new URLSearchParams();
		if (this.shown !== null) query.set("turn", this.shown);
		if (path !== undefined) query.set("path", path);
		return this.session.client.api.json(`/api/sessions/${encodeURIComponent(this.session.id)}/changes?${query}`);
	}

	async load() {
		const { shown } = this;
		setAttr(this.ofTurn, "aria-pressed", String(shown !== null));
		setAttr(this.ofAll, "aria-pressed", String(shown === null));
		this.sum.textContent = "Comparing the files …";
		this.files.replaceChildren();
		try {
			const changes = await this.#fetch();
			if (this.shown === shown) this.#draw(changes);
		} catch (error) {
			if (this.shown !== shown) return;
			this.sum.textContent = wrong(error);
			this.files.replaceChildren(button("Try again", () => this.load()));
		}
	}

	/** @param {{from: string, to: string | null, files: FileDiff[], truncated: boolean}} changes */
	#draw({ from, to, files, truncated }) {
		this.ends = { from, to };
		this.fills = [];
		const sum = (/** @type {"added" | "removed"} */ what) => files.reduce((all, one) => all + (one[what] ?? 0), 0);
		const cut = truncated ? " There is more than is shown here." : "";
		this.sum.textContent = files.length
			? `${filesText(files.length)}, +${sum("added")} −${sum("removed")}.${cut}`
			: "No file differs.";
		let lines = 0;
		const rows = files.map((file) => {
			lines += (file.added ?? 0) + (file.removed ?? 0) + 8;
			return this.#row(file, lines <= OPEN_LINES);
		});
		this.files.replaceChildren(...rows);
	}

	/** @param {FileDiff} file @param {boolean} open */
	#row(file, open) {
		const { path, old_path: from, status, added, removed, binary } = file;
		const name = from && from !== path ? `${from} → ${path}` : path;
		const facts = [
			status === "modified" ? "" : (status ?? ""),
			binary ? "binary" : `+${added ?? 0} −${removed ?? 0}`,
		].filter(Boolean);
		const body = el("div.changedbody");
		const row = el(
			"details.changedfile",
			{ open },
			el("summary", el("b", name), el("span.toolstate", facts.join(" · "))),
			body,
		);
		const fill = () => {
			if (row.open && !body.firstChild) body.append(...this.#opener(file), ...this.#body(file, body));
		};
		row.ontoggle = fill;
		this.fills.push(() => {
			body.replaceChildren();
			fill();
		});
		fill();
		return row;
	}

	/** @param {FileDiff} file */
	#opener(file) {
		return this.session.client.may("drive") ? [button("Open file", () => this.#open(file, 0), "quiet")] : [];
	}

	/** Show a file as it is, or as it was before or after the changes. @param {FileDiff} file @param {number} line */
	#open({ path, old_path: old, status }, line) {
		const { from, to } = this.ends;
		const states = [
			...(from && status !== "added" ? [{ name: "Before", path: old ?? path, checkpoint: from }] : []),
			...(to && status !== "deleted" ? [{ name: "After", path, checkpoint: to }] : []),
			...(status === "deleted" ? [] : [{ name: "Now", path, checkpoint: null }]),
		];
		showFile(this.session, path, (text) => this.session.client.views.say(text), { over: true, line, states });
	}

	/** @param {FileDiff} file @param {string} patch */
	#patch(file, patch) {
		const { session } = this;
		if (!session.client.may("drive")) return drawPatch(patch, { split: this.split });
		return drawPatch(patch, {
			split: this.split,
			choose: (line, row) =>
				commentOn(session, file.path, line, row, line.sign === "-" ? null : () => this.#open(file, line.number)),
		});
	}

	/** @param {FileDiff} file @param {HTMLElement} body @returns {HTMLElement[]} */
	#body(file, body) {
		if (file.patch) return [this.#patch(file, file.patch)];
		if (file.binary) return [el("p.hint", "A binary file: its contents are not shown.")];
		if (!file.truncated) return [el("p.hint", "The text is the same.")];
		const load = button("Show this file's changes", async () => {
			load.disabled = true;
			try {
				const whole = (await this.#fetch(file.path)).files.find(
					(/** @type {FileDiff} */ one) => one.path === file.path,
				);
				body.replaceChildren(
					...this.#opener(file),
					whole?.patch ? this.#patch(file, whole.patch) : el("p.hint", "These changes are too long to show here."),
				);
			} catch (error) {
				load.disabled = false;
				body.replaceChildren(el("p.hint", { role: "alert" }, wrong(error)), load);
			}
		});
		return [load];
	}
}

/** @param {unknown} error */
function wrong(error) {
	return error instanceof ApiError ? error.message : "Couldn't read the server's answer. Try again.";
}
