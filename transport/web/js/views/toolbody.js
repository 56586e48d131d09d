// The content of a tool call, drawn by the kind of the tool. Also the subject of a decision.

import { readAnsi } from "../ansi.js";
import { changesOf, readPatch } from "../diff.js";
import { button, el, sizeText } from "../dom.js";
import { commandOf, describe, filesOf, inputText, relative } from "../tools.js";
import { markdown } from "./markdown.js";
import { linkedText } from "./paths.js";

/** Most lines of a diff, and most characters of a text, that are drawn. The rest is counted. */
const LINES = 400;
const CHARS = 100_000;
/** Most files of a call that can be opened. */
const FILES = 20;

/** @param {HTMLElement} at @param {Tool} tool @param {Acts} acts */
export function fillTool(at, tool, acts) {
	const { name, output, inputBlob, outputBlob } = tool;
	const whole = (/** @type {string | undefined} */ url, /** @type {string} */ what) =>
		url ? [button(`Save the whole ${what}`, () => acts.save(url, `${name}-${what}.txt`), "quiet")] : [];
	at.replaceChildren(
		...fileButtons(tool, acts),
		...drawInput(tool, acts.workspace()),
		...whole(inputBlob, "input"),
		...(output ? drawOutput(tool, output, acts) : []),
		...whole(outputBlob, "output"),
		...(tool.pictures ?? []).slice(0, FILES).map((one) => drawPicture(one, acts)),
	);
}

/** The output of a running call, at its end. @param {HTMLElement} at @param {Tool} tool @param {Acts} acts */
export function printTool(at, tool, acts) {
	at.replaceChildren(...(tool.output === undefined && tool.printed ? drawOutput(tool, tool.printed, acts) : []));
	if (at.lastElementChild) at.lastElementChild.scrollTop = at.lastElementChild.scrollHeight;
}

/** A picture in a call's output, fetched when the person wants to see it. @param {{mime_type: string, size: number, url: string}} picture @param {Acts} acts */
function drawPicture({ mime_type: type, size, url }, acts) {
	const show = button(
		`Show the picture, ${sizeText(size)}`,
		async () => {
			try {
				const src = URL.createObjectURL(new Blob([await acts.fetch(url)], { type }));
				const free = () => URL.revokeObjectURL(src);
				show.replaceWith(el("img.picture", { src, alt: "A picture from this tool call", onload: free, onerror: free }));
			} catch {
				acts.say("Couldn't fetch the picture.");
			}
		},
		"quiet",
	);
	return show;
}

/** Buttons that open the files of a call. @param {Tool} tool @param {Acts} acts */
function fileButtons(tool, acts) {
	const { kind } = describe(tool.name, tool.input, acts.workspace());
	if (!acts.mayDrive() || (kind !== "edit" && kind !== "read")) return [];
	const line = Number(tool.input?.offset) || 0;
	return filesOf(tool, acts.workspace())
		.slice(0, FILES)
		.map((path) => {
			const show = () =>
				acts.open(
					() => import("./file.js"),
					(part, session) => part.showFile(session, path, acts.say, { line }),
				);
			return button(`Open ${path}`, show, "quiet path");
		});
}

/**
 * The subject of a call, or of a request for one.
 * @param {{name: string, input: any, diff?: FileDiff[]}} of @param {string | undefined} workspace
 * @returns {HTMLElement[]}
 */
export function drawInput({ name, input, diff }, workspace) {
	const { kind } = describe(name, input, workspace);
	const changes = diff?.length
		? diff.map(({ path, patch }) => ({ path, lines: readPatch(patch ?? "") }))
		: changesOf(input);
	if (changes.length) return changes.map(({ path, lines }) => drawDiff(relative(path, workspace), lines));
	if (kind === "command") return drawCommand(input);
	if (kind === "plan" && typeof input?.plan === "string") return [el("div.rendered.plan", markdown(input.plan))];
	if (kind === "todo") return [drawTodo(input?.todos ?? input?.plan ?? [])];
	if (kind === "read" || kind === "search") return drawPairs(input, workspace);
	return [pre(inputText(input))];
}

/** @param {any} input */
function drawCommand(input) {
	const note = input?.description ? [el("p.label", String(input.description))] : [];
	const rest = Object.entries(input ?? {}).filter(([name]) => !["command", "cmd", "description"].includes(name));
	const more = rest.length ? [el("p.hint", inputText(Object.fromEntries(rest)))] : [];
	return [...note, el("pre.command", { tabindex: 0 }, commandOf(input)), ...more];
}

/** @param {any} input @param {string | undefined} workspace */
function drawPairs(input, workspace) {
	const pairs = Object.entries(input ?? {}).map(
		([name, value]) =>
			`${name.replaceAll("_", " ")}: ${/path/.test(name) ? relative(value, workspace) : inputText(value)}`,
	);
	return [pre(pairs.join("\n"))];
}

/** @param {any} list */
export function drawTodo(list) {
	const rows = (Array.isArray(list) ? list : []).map((one) => {
		const status = String(one?.status ?? "pending");
		const words = { completed: "done", in_progress: "in progress" };
		return el(
			"li",
			{ "data-status": status },
			el("span.unseen", `${words[/** @type {"completed"} */ (status)] ?? "open"}: `),
			String(one?.content ?? one?.step ?? ""),
		);
	});
	return el("ul.todo", ...rows);
}

/** @param {string} path @param {import("../diff.js").Line[]} lines */
function drawDiff(path, lines) {
	const shown = lines.slice(0, LINES).map(({ sign, text }) => {
		const kind = { "+": "added", "-": "removed", "@": "hunk", " ": "" }[sign];
		return el("span", { class: kind }, `${sign === "@" ? "" : sign}${text}\n`);
	});
	const rest = lines.length > LINES ? [el("span.hunk", `… ${lines.length - LINES} more lines\n`)] : [];
	const added = lines.filter((one) => one.sign === "+").length;
	const removed = lines.filter((one) => one.sign === "-").length;
	const counts = el("small", ` +${added} −${removed}`);
	return el("figure.diff", el("figcaption", path, counts), el("pre", { tabindex: 0 }, el("code", ...shown, ...rest)));
}

/** @param {Tool} tool @param {string} output @param {Acts} acts */
function drawOutput(tool, output, acts) {
	const { kind } = describe(tool.name, tool.input, acts.workspace());
	if (kind === "edit" && !tool.isError) return []; // the change shows it
	const text = output.replace(/<\/?tool_use_error>/g, "");
	const shown = text.slice(0, CHARS);
	const pieces = readAnsi(shown).map(({ text: part, style }) =>
		style ? [el("span", { class: style }, part)] : kind === "read" ? [part] : linkedText(part, acts),
	);
	const rest = text.length > CHARS ? [`\n… ${text.length - CHARS} more characters`] : [];
	return [el("p.label", tool.isError ? "Error" : "Output"), el("pre", { tabindex: 0 }, ...pieces.flat(), ...rest)];
}

/** @param {string} text */
function pre(text) {
	return el("pre", { tabindex: 0 }, text.length > CHARS ? `${text.slice(0, CHARS)} …` : text);
}
