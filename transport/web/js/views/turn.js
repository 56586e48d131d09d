// A turn's answer in the log: text, thinking, tool calls and decisions in the order in which they came.

import { button, clockTime, el, icon, lasted, moreStyles, setAttr, setText } from "../dom.js";
import { endingText } from "../pieces.js";
import { safeBlocks } from "../sanitise.js";
import { agentName } from "../names.js";
import { dressCode } from "./code.js";
import { LineView } from "./line.js";

/** @type {typeof import("./tool.js") | null} draws calls: loaded with the first one */
let calls = null;
/** @type {Promise<void> | null} */
let loading = null;

/** Load the code that draws calls, and then draw again. @param {() => void} again */
function loadCalls(again) {
	loading ??= Promise.all([import("./tool.js"), moreStyles()]).then(
		([module]) => void (calls = module),
		() => void (loading = null), // the next drawing tries again
	);
	loading.then(again);
}

/** @type {typeof import("./changed.js") | null} draws the line about its changes: loaded with the first one */
let changes = null;

const canSpeak = "speechSynthesis" in window && typeof SpeechSynthesisUtterance === "function";

/** Characters of running text that are laid out together, and how many more may follow until a space. */
const PIECE = 4000;
const OVER = 400;

/** Where to end a piece of text of about so many characters: after a space, if there is one near. @param {string} text @param {number} from @param {number} room */
function pieceEnd(text, from, room) {
	if (text.length - from <= room) return text.length;
	const near = text.slice(from + room, from + room + OVER);
	const space = near.search(/\s/);
	const end = from + room + (space < 0 ? near.length : space + 1);
	const unit = text.charCodeAt(end - 1);
	return unit >= 0xd800 && unit < 0xdc00 ? end + 1 : end; // two units may be one character
}

/** Text of an answer: plain while it grows, rendered when the turn has ended. */
class TextView {
	constructor() {
		this.node = el("div.plain");
		this.drawn = 0;
		this.cuts = 0;
	}

	/**
	 * Plain text grows only at its end, so what is on the screen stays in place. It is laid out in pieces, because a browser lays
	 * out the whole paragraph again for each new word.
	 * @param {Block} block
	 */
	grow({ text, cuts }) {
		if (cuts !== this.cuts || text.length < this.drawn) {
			this.node.replaceChildren();
			[this.drawn, this.cuts] = [0, cuts];
		}
		while (this.drawn < text.length) {
			let last = /** @type {Text | null | undefined} */ (this.node.lastChild?.firstChild);
			if (!last || last.length >= PIECE) {
				last = document.createTextNode("");
				this.node.append(el("div", last));
			}
			const end = pieceEnd(text, this.drawn, PIECE - last.length);
			last.appendData(text.slice(this.drawn, end));
			this.drawn = end;
		}
	}

	/** @param {DocumentFragment} nodes */
	render(nodes) {
		dressCode(nodes);
		this.node.className = "rendered";
		this.node.replaceChildren(nodes);
	}
}

class ThinkingView {
	constructor() {
		this.pre = el("pre");
		this.node = el("details.thinking", el("summary", "Thinking"), this.pre);
	}

	/** @param {Block} block */
	grow({ text }) {
		setText(this.pre, text);
	}
}

export class AnswerView {
	/** @param {Acts} acts */
	constructor(acts) {
		this.acts = acts;
		this.who = el("h3.who");
		this.body = el("div.body");
		this.passing = el("p.passing-note", { hidden: true });
		this.ending = el("p.ending", { hidden: true });
		this.changed = el("div.foot.changed", { hidden: true });
		this.foot = el("div.foot", { hidden: true });
		this.node = el(
			"article",
			{ "data-role": "assistant", tabindex: -1 },
			this.who,
			this.body,
			this.passing,
			this.ending,
			this.changed,
			this.foot,
		);
		/** @type {Map<Part, TextView | ThinkingView | LineView>} */
		this.views = new Map();
		/** @type {Map<string, import("./tool.js").RunView>} by the first call's id */
		this.runs = new Map();
		/** @type {string | null} what is rendered */
		this.html = null;
		/** @type {AnswerEntry | undefined} */
		this.entry = undefined;
	}

	/** @param {AnswerEntry} entry */
	update(entry) {
		const running = entry.status === "running";
		if (this.entry && this.entry !== entry) this.#startOver();
		this.entry = entry;
		setAttr(this.node, "data-state", entry.status);
		setAttr(this.node, "aria-busy", String(running));
		if (!this.who.firstChild) this.#heading(entry);
		this.#parts(entry.parts, running);
		if (entry.html !== null && !running && entry.html !== this.html) this.#render(entry.html, entry);
		const ending = endingText(entry, this.acts.nameOf);
		setText(this.passing, entry.passing);
		this.passing.hidden = !entry.passing;
		setText(this.ending, ending);
		this.ending.hidden = !ending;
		if (!running && !this.foot.firstChild) this.#foot(entry);
		this.foot.hidden = running;
		this.changed.hidden = !entry.changed?.files;
		if (entry.changed?.files) this.#changed(entry);
	}

	/** @param {AnswerEntry} entry */
	#changed(entry) {
		if (changes) changes.drawChanged(this.changed, entry, this.acts);
		else
			import("./changed.js").then(
				(module) => {
					changes = module;
					this.acts.redraw(entry.key);
				},
				() => {},
			); // the next drawing tries again
	}

	/** The same turn came again, for example after a reconnection without a position. The old parts no longer count. */
	#startOver() {
		this.views.clear();
		this.runs.clear();
		this.html = null;
		this.foot.replaceChildren();
	}

	/** @param {AnswerEntry} entry */
	#heading(entry) {
		const name = agentName(this.acts.agent());
		const when = clockTime(entry.at);
		setAttr(this.node, "aria-label", `${name}, ${when}`);
		const why = entry.cause === "background" ? el("small", "worked on in the background") : null;
		this.who.append(name, el("time", { datetime: entry.at }, when), why ?? "");
	}

	/** @param {Part[]} parts @param {boolean} running */
	#parts(parts, running) {
		if (!calls && this.entry?.tools.length) loadCalls(() => this.#again());
		/** @type {HTMLElement[]} */
		const nodes = [];
		/** @type {{view: import("./tool.js").RunView, tools: Tool[]} | null} */
		let run = null;
		const close = (/** @type {boolean} */ live) => run?.view.update(run.tools, live);
		for (const part of parts) {
			if (part.kind === "tool") {
				if (!calls) continue;
				if (!run) {
					const view = this.runs.get(part.id) ?? new calls.RunView(this.acts);
					this.runs.set(part.id, view);
					run = { view, tools: [] };
					nodes.push(view.node);
				}
				run.tools.push(part);
				continue;
			}
			close(false);
			run = null;
			nodes.push(this.#part(part).node);
		}
		close(running);
		this.#place(nodes);
	}

	#again() {
		if (this.entry && calls) this.acts.redraw(this.entry.key);
	}

	/** @param {Block | Line} part */
	#part(part) {
		let view = this.views.get(part);
		if (!view)
			this.views.set(
				part,
				(view =
					part.kind === "line" ? new LineView(this.acts) : part.kind === "text" ? new TextView() : new ThinkingView()),
			);
		if (part.kind === "line") /** @type {LineView} */ (view).update(part);
		else if (this.html === null) /** @type {TextView} */ (view).grow(part);
		return view;
	}

	/** @param {HTMLElement[]} nodes */
	#place(nodes) {
		let at = this.body.firstChild;
		for (const node of nodes) {
			if (node === at) at = at.nextSibling;
			else this.body.insertBefore(node, at);
		}
		while (at) {
			const next = at.nextSibling;
			at.remove();
			at = next;
		}
	}

	/** Put each rendered block in its place. If a block is unknown here, the rendered answer replaces all text. @param {string} html @param {AnswerEntry} entry */
	#render(html, entry) {
		this.html = html;
		const found = safeBlocks(html);
		const blocks = entry.blocks.map((one) => /** @type {TextView} */ (this.views.get(one)));
		const known = entry.blocks.every((one) => found.has(one.id));
		for (const [index, view] of blocks.entries()) {
			const nodes = known
				? found.get(entry.blocks[index]?.id ?? "")
				: index === 0
					? joined(found)
					: document.createDocumentFragment();
			if (nodes) view?.render(nodes);
		}
		import("./paths.js").then(
			({ linkPaths }) => linkPaths(this.body, this.acts),
			() => {},
		); // as code they stay readable
	}

	/** The answer as text, for reading aloud and for the clipboard. */
	get words() {
		return (this.entry?.blocks ?? []).map((one) => one.text).join("\n\n");
	}

	/** @param {AnswerEntry} entry */
	#foot(entry) {
		const { usage, at } = entry.end ?? { usage: /** @type {Ending["usage"]} */ ({}), at: "" };
		const ms = at ? Date.parse(at) - Date.parse(entry.at) : 0;
		const tokens = (usage.input_tokens ?? 0) + (usage.output_tokens ?? 0);
		const facts = [
			ms > 0 ? lasted(ms) : "",
			tokens ? `${new Intl.NumberFormat([], { notation: "compact" }).format(tokens)} tokens` : "",
		];
		const said = facts.filter(Boolean).join(" · ");
		const parts = [said ? el("span.facts-line", said) : null];
		if (entry.status === "error" && this.acts.mayDrive())
			parts.push(button("Retry", () => this.acts.retryTurn(entry), "quiet"));
		if (entry.past)
			parts.push(
				button(
					"Show steps",
					() =>
						this.acts.open(
							() => import("./steps.js"),
							({ showSteps }, session) => showSteps(session, entry),
						),
					"quiet",
				),
			);
		for (const more of this.acts.more(entry)) parts.push(more);
		if (entry.blocks.length) parts.push(...this.#wordButtons());
		this.foot.append(...parts.filter((one) => one !== null));
	}

	#wordButtons() {
		const copy = el(
			"button",
			{ type: "button", class: "quiet", onclick: () => this.acts.copy(this.words) },
			icon("copy"),
			"Copy",
		);
		if (!canSpeak) return [copy];
		const read = el("button", { type: "button", class: "quiet", "aria-pressed": "false" }, icon("speak"), "Read aloud");
		read.onclick = () =>
			this.acts.open(
				() => import("../voice.js"),
				({ readAloud }) => readAloud(read, this.html === null ? this.words : this.body.innerText),
			);
		return [copy, read];
	}
}

/** @param {Map<string, DocumentFragment>} found */
function joined(found) {
	const all = document.createDocumentFragment();
	for (const one of found.values()) all.append(one);
	return all;
}
