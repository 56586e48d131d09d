// What a turn, or the whole session, changed: a list of files, each with its patch.

import { ApiError } from "../api.js";
import { button, el, setAttr } from "../dom.js";
import { filesText } from "../work.js";
import { showFile } from "./file.js";
import { openPane } from "./pane.js";
import { drawPatch } from "./patch.js";

/** Lines up to which the first files are open from the beginning. */
const OPEN_LINES = 300;

/** Show the changes of a turn, or of the session. @param {OpenSession} session @param {string | null} turn */
export function showChanges(session, turn) {
	const view = new ChangesView(session, turn);
	openPane("Changes", view.node);
	view.load();
}

class ChangesView {
	/** @param {OpenSession} session @param {string | null} turn */
	constructor(session, turn) {
		this.session = session;
		this.turn = turn;
		/** The turn whose changes are shown; null for the whole session's. */
		this.shown = turn;
		this.ofTurn = button("This turn", () => this.#show(turn), "quiet");
		this.ofAll = button("Whole session", () => this.#show(null), "quiet");
		this.sum = el("p.hint", { role: "status" });
		this.files = el("div");
		this.node = el("div.changes", turn === null ? null : el("div.choice", this.ofTurn, this.ofAll), this.sum, this.files);
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

	/** @param {{files: FileDiff[], truncated: boolean}} changes */
	#draw({ files, truncated }) {
		const sum = (/** @type {"added" | "removed"} */ what) => files.reduce((all, one) => all + (one[what] ?? 0), 0);
		const cut = truncated ? " There is more than is shown here." : "";
		this.sum.textContent = files.length ? `${filesText(files.length)}, +${sum("added")} −${sum("removed")}.${cut}` : "No file differs.";
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
		const facts = [status === "modified" ? "" : (status ?? ""), binary ? "binary" : `+${added ?? 0} −${removed ?? 0}`].filter(Boolean);
		const body = el("div.changedbody");
		const row = el("details.changedfile", { open }, el("summary", el("b", name), el("span.toolstate", facts.join(" · "))), body);
		const fill = () => {
			if (row.open && !body.firstChild) body.append(...this.#opener(file), ...this.#body(file, body));
		};
		row.ontoggle = fill;
		fill();
		return row;
	}

	/** @param {FileDiff} file */
	#opener({ path, status }) {
		const { client } = this.session;
		if (status === "deleted" || !client.may("drive")) return [];
		return [button("Open file", () => showFile(this.session, path, (text) => client.views.say(text), true), "quiet")];
	}

	/** @param {FileDiff} file @param {HTMLElement} body @returns {HTMLElement[]} */
	#body(file, body) {
		if (file.patch) return [drawPatch(file.patch)];
		if (file.binary) return [el("p.hint", "A binary file: its contents are not shown.")];
		if (!file.truncated) return [el("p.hint", "The text is the same.")];
		const load = button("Show this file's changes", async () => {
			load.disabled = true;
			try {
				const whole = (await this.#fetch(file.path)).files.find((/** @type {FileDiff} */ one) => one.path === file.path);
				body.replaceChildren(...this.#opener(file), whole?.patch ? drawPatch(whole.patch) : el("p.hint", "These changes are too long to show here."));
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
