// A tool call, folded: what it was given, what it changes, what came of it.

import { changesOf } from "../diff.js";
import { button, el, setAttr, setText } from "../dom.js";

/** Lines of a diff that are drawn; the rest is counted. */
const LINES = 400;
const SHORT = 120;

/** @param {any} value */
export function inputText(value) {
	if (typeof value === "string") return value;
	if (value === null || value === undefined) return "";
	if (typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value, null, 2);
	return Object.entries(value)
		.map(([name, one]) => `${name}: ${typeof one === "string" ? one : JSON.stringify(one, null, 2)}`)
		.join("\n");
}

/** What a call is about, in one line. @param {any} input */
function gist(input) {
	if (typeof input === "string") return input.slice(0, SHORT);
	const names = ["command", "file_path", "path", "pattern", "query", "url", "description", "prompt", "text"];
	const found = names.map((name) => input?.[name]).find((one) => typeof one === "string" && one);
	const changed = changesOf(input)[0]?.path;
	return String(found ?? changed ?? "").split("\n")[0]?.slice(0, SHORT) ?? "";
}

/** @param {any} input @returns {HTMLElement[]} */
export function drawChanges(input) {
	return changesOf(input).map(({ path, lines }) => {
		const shown = lines.slice(0, LINES).map(({ sign, text }) => {
			const kind = { "+": "added", "-": "removed", "@": "hunk", " ": "" }[sign];
			return el("span", { class: kind }, `${sign === "@" ? "" : sign}${text}\n`);
		});
		const rest = lines.length > LINES ? [el("span.hunk", `… ${lines.length - LINES} more lines\n`)] : [];
		return el("figure.diff", el("figcaption", path), el("pre", { tabindex: 0 }, ...shown, ...rest));
	});
}

/** @param {string} name @param {string} text @param {HTMLElement | null} [more] */
function part(name, text, more = null) {
	return el("div.part", el("p.label", name), el("pre", { tabindex: 0 }, text), more);
}

export class ToolView {
	/** @param {Tool} tool @param {(url: string, name: string) => void} save */
	constructor(tool, save) {
		this.tool = tool;
		this.save = save;
		this.state = el("span.toolstate");
		this.name = el("b", tool.name);
		this.body = el("div.toolbody");
		this.node = el(
			"details",
			{ class: tool.parent ? "tool inner" : "tool", ontoggle: () => this.#fill() },
			el("summary", this.name, el("span.gist", gist(tool.input)), this.state),
			this.body,
		);
		this.filled = "";
		this.update(tool);
	}

	/** @param {Tool} tool */
	update(tool) {
		this.tool = tool;
		const done = tool.output !== undefined;
		const took = tool.ms === undefined ? "done" : tool.ms < 1000 ? `${tool.ms} ms` : `${(tool.ms / 1000).toFixed(1)} s`;
		setText(this.state, !done ? "running" : tool.isError ? "failed" : took);
		setAttr(this.node, "data-state", !done ? "running" : tool.isError ? "failed" : "done");
		this.#fill();
	}

	/** Draw what is inside, once somebody looks. */
	#fill() {
		const { input, output, inputBlob, outputBlob, name } = this.tool;
		const version = output === undefined ? "input" : "all";
		if (!this.node.open || this.filled === version) return;
		this.filled = version;
		const changes = drawChanges(input);
		const whole = (/** @type {string | undefined} */ url, /** @type {string} */ what) =>
			url ? button(`Save the whole ${what}`, () => this.save(url, `${name}-${what}.txt`), "quiet") : null;
		this.body.replaceChildren(
			...(changes.length ? changes : [part("Input", inputText(input), whole(inputBlob, "input"))]),
			...(output ? [part("Output", output, whole(outputBlob, "output"))] : []),
		);
	}
}
