// A tool call as one row, and sequences of calls that fold. toolbody.js draws a row's content when it is opened.

import { el, lasted, moreStyles, setAttr, setText } from "../dom.js";
import { describe } from "../tools.js";
import { LineView } from "./line.js";

/** The number of calls in sequence from which they fold. */
const FOLD = 3;
/** Rows that are created at once, so that no drawing takes long. */
const AT_ONCE = 25;

/** @param {Tool} tool */
function stateOf(tool) {
	if (tool.output === undefined) return "running";
	return tool.isError ? "failed" : "done";
}

/** @param {Tool} tool */
function stateWords(tool) {
	const state = stateOf(tool);
	const [, code] = /^(?:Error: )?Exit code (\d+)/.exec(tool.output ?? "") ?? [];
	const sum = (/** @type {"added" | "removed"} */ what) =>
		(tool.diff ?? []).reduce((all, one) => all + (one[what] ?? 0), 0);
	const changed = tool.diff?.length ? `+${sum("added")} −${sum("removed")}` : "";
	if (state === "failed") return code ? `failed · exit ${code}` : "failed";
	return state === "running"
		? "running"
		: [changed, tool.ms === undefined ? "done" : lasted(tool.ms)].filter(Boolean).join(" · ");
}

/** The last line that a running call has printed. @param {Tool} tool */
function lastLine({ output, printed }) {
	if (output !== undefined || !printed) return "";
	const [line = ""] = printed
		.slice(-500)
		.trimEnd()
		.split(/[\r\n]/)
		.slice(-1);
	return line.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "");
}

export class ToolView {
	/** @param {Tool} tool @param {Acts} acts */
	constructor(tool, acts) {
		this.tool = tool;
		this.acts = acts;
		const { verb, gist } = describe(tool.name, tool.input, acts.workspace());
		this.state = el("span.toolstate");
		this.gist = el("span.gist", gist);
		this.now = el("span.gist.now", { hidden: true });
		this.body = el("div.toolbody");
		this.printed = el("div");
		this.details = el(
			"details.tool",
			{ ontoggle: () => this.#fill() },
			el("summary", el("b", verb), this.gist, this.now, this.state),
			this.body,
		);
		this.node = el("div.toolrow", this.details);
		/** @type {LineView | undefined} the decision about it */
		this.line = undefined;
		/** @type {RunView | undefined} the calls of the agent that it began */
		this.run = undefined;
		/** @type {typeof import("./toolbody.js").printTool | undefined} */
		this.print = undefined;
		this.version = "";
		this.filled = "";
		this.update(tool);
	}

	get open() {
		return this.details.open;
	}

	/** @param {Tool} tool */
	update(tool) {
		const inner = tool.inner.at(-1);
		const version = `${tool.output === undefined} ${tool.inner.length} ${inner?.output === undefined} ${tool.printed} ${tool.line?.key} ${tool.line ? this.acts.nameOf(tool.line.by) : ""}`;
		if (version === this.version) return;
		this.version = version;
		const state = stateOf(tool);
		setText(this.state, stateWords(tool));
		setAttr(this.details, "data-state", state);
		const at = state === "running" && inner ? describe(inner.name, inner.input, this.acts.workspace()) : null;
		const now = at ? `${at.verb} ${at.gist}` : lastLine(tool);
		this.now.hidden = !now;
		setText(this.now, now);
		if (tool.line) {
			this.line ??= new LineView(this.acts);
			this.line.update(tool.line);
			this.node.append(this.line.node);
		}
		this.#fill();
	}

	/** Draw the content. */
	async #fill() {
		const { tool } = this;
		const version = `${tool.output === undefined} ${tool.inner.length}`;
		if (!this.open) return;
		if (this.filled === version) {
			this.print?.(this.printed, tool, this.acts);
			return;
		}
		this.filled = version;
		try {
			const [{ fillTool, printTool }] = await Promise.all([import("./toolbody.js"), moreStyles()]);
			if (this.filled === version) {
				fillTool(this.body, tool, this.acts);
				this.body.append(this.printed);
				printTool(this.printed, tool, this.acts);
				this.print = printTool;
			}
			if (!tool.inner.length) return;
			this.run ??= new RunView(this.acts);
			this.run.update(tool.inner, tool.output === undefined);
			this.body.append(this.run.node);
		} catch {
			this.filled = "";
			this.body.replaceChildren(el("p.hint", "Couldn't load this part. Check the connection and open it again."));
		}
	}
}

/** Calls with no text between them. */
export class RunView {
	/** @param {Acts} acts */
	constructor(acts) {
		this.acts = acts;
		this.head = el("button.runhead", { type: "button", "aria-expanded": "false", onclick: () => this.#toggle() });
		this.rows = el("div.tools");
		this.node = el("div.run", this.head, this.rows);
		/** @type {Map<string, ToolView>} */
		this.views = new Map();
		/** @type {Tool[]} */
		this.tools = [];
		this.live = false;
		this.unfolded = false;
	}

	#toggle() {
		this.unfolded = !this.unfolded;
		this.update(this.tools, this.live);
	}

	/** @param {Tool[]} tools @param {boolean} live whether the agent is working here now */
	update(tools, live) {
		this.tools = tools;
		this.live = live;
		const folds = tools.length >= FOLD;
		this.head.hidden = !folds;
		if (folds) this.#heading(tools);
		const last = tools.length - 1;
		let made = 0;
		let at = this.rows.firstChild;
		for (const [index, tool] of tools.entries()) {
			let view = this.views.get(tool.id);
			const working = live && (index === last || tool.output === undefined);
			// A person's decisions stay in the log, and so does an open call.
			const shown = !folds || this.unfolded || working || (view?.open ?? false) || tool.asked === true;
			if (!view && !shown) continue;
			if (!view && ++made > AT_ONCE) {
				setTimeout(() => this.update(this.tools, this.live));
				break;
			}
			if (!view) this.views.set(tool.id, (view = new ToolView(tool, this.acts)));
			else view.update(tool);
			view.node.hidden = !shown;
			if (view.node === at) at = at.nextSibling;
			else this.rows.insertBefore(view.node, at);
		}
	}

	/** @param {Tool[]} tools */
	#heading(tools) {
		const failed = tools.filter((one) => one.isError).length;
		const words = [`${tools.length} calls`, failed && `${failed} failed`];
		setText(this.head, words.filter(Boolean).join(" · "));
		setAttr(this.head, "aria-expanded", String(this.unfolded));
		setAttr(this.head, "data-failed", String(failed > 0));
	}
}
