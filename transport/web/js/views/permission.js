// What a person must decide. It lies over the composer and not over the conversation, since one decides by what was said.

import { button, el } from "../dom.js";
import { drawChanges, inputText } from "./tool.js";

/** @typedef {(request: Asked, decision: string, more: {note?: string, answers?: Record<string, any>}) => void} Decide */

/** Characters of an input that are shown; a person reads no more before a decision. */
const SHOWN = 20_000;

/** Of choices that exclude each other Tab stops at the chosen one. @param {Element} node */
function isStop(node) {
	const box = /** @type {HTMLInputElement} */ (node);
	return box.type !== "radio" || box.checked;
}

export class PermissionView {
	/** @param {Decide} decide @param {() => void} closed */
	constructor(decide, closed) {
		this.decide = decide;
		this.closed = closed;
		this.node = el("section.permission", { role: "alertdialog", "aria-label": "Permission", tabindex: -1, hidden: true });
		this.node.addEventListener("keydown", (event) => this.#onKey(event));
		this.shown = "";
	}

	/**
	 * @param {Asked[]} pending the oldest is shown
	 * @param {{agent: string, mayDecide: boolean, live: boolean}} by
	 */
	update(pending, { agent, mayDecide, live }) {
		const [request] = pending;
		const version = request ? `${request.id} ${pending.length} ${mayDecide} ${live}` : "";
		if (version === this.shown) return;
		const [isNew, hadFocus] = [!this.shown || this.request?.id !== request?.id, this.node.contains(document.activeElement)];
		const only = !isNew && request;
		this.shown = version;
		this.request = request;
		if (only) {
			for (const one of this.node.querySelectorAll("button")) one.disabled = !live;
			return;
		}
		this.node.hidden = !request;
		this.node.replaceChildren(...(request ? this.#draw(request, pending.length, agent, mayDecide) : []));
		// Not on a button: what a person is typing must not decide.
		if (request) this.node.focus({ preventScroll: true });
		else if (hadFocus) this.closed();
	}

	/** @param {Asked} request @param {number} count @param {string} agent @param {boolean} mayDecide */
	#draw(request, count, agent, mayDecide) {
		if (request.kind === "trust") return this.#trust(request, mayDecide);
		const asks = request.questions ? `${agent} asks` : `${agent} wants to use ${request.tool}`;
		const head = el("p.asks", el("b", asks), count > 1 ? el("small", ` 1 of ${count}`) : null);
		if (!mayDecide) return [head, this.#input(request), el("p.hint", "This device may watch and not decide.")];
		return request.questions ? [head, this.#form(request, request.questions)] : [head, this.#input(request), ...this.#choice(request)];
	}

	/** What would run by itself, and whether it may. @param {Asked} request @param {boolean} mayDecide */
	#trust(request, mayDecide) {
		const { folder, runs = [], more = 0 } = request.input ?? {};
		const lines = runs.map((/** @type {any} */ one) => `${one.kind} ${one.name} (${one.from})${one.command ? `: ${one.command}` : ""}`);
		if (more) lines.push(`and ${more} more, which are not listed`);
		const parts = [el("p.asks", el("b", "This folder holds things that would run or count by themselves")), el("div.asked", el("p", String(folder ?? "")), el("pre", { tabindex: 0 }, lines.join("\n")))];
		if (!mayDecide) return [...parts, el("p.hint", "This device may watch and not decide.")];
		const without = !request.options.length || request.options.includes("deny");
		const buttons = [
			button("Trust this folder", () => this.#send(request, "allow", {}), "primary"),
			without ? button("Go on without its settings", () => this.#send(request, "deny", {})) : null,
			button("Cancel", () => this.#send(request, "interrupt", {}), "danger"),
		];
		return [...parts, el("div.choice", ...buttons)];
	}

	/** @param {Asked} request */
	#input(request) {
		const text = inputText(request.input);
		const changes = drawChanges(request.input);
		const shown = changes.length ? changes : [el("pre", { tabindex: 0 }, text.slice(0, SHOWN) + (text.length > SHOWN ? " …" : ""))];
		return el("div.asked", ...shown);
	}

	/** @param {Asked} request */
	#choice(request) {
		const reason = el("input", { type: "text", "aria-label": "Reason", placeholder: "Reason, where you refuse (optional)", maxlength: 2000 });
		const act = (/** @type {string} */ decision) => () => {
			const note = decision === "deny" ? reason.value.trim() : "";
			this.#send(request, decision, note ? { note } : {});
		};
		const lasting = !request.options.length || request.options.includes("allow_session");
		return [
			reason,
			el(
				"div.choice",
				button("Allow", act("allow"), "primary"),
				lasting ? button("Allow for this session", act("allow_session")) : null,
				button("Deny", act("deny"), "danger"),
			),
		];
	}

	/** @param {Asked} request @param {Question[]} questions */
	#form(request, questions) {
		const fields = questions.map((one, index) => this.#question(one, `${request.id}-${index}`));
		const form = el(
			"form.questions",
			...fields.map((one) => one.node),
			el("div.choice", el("button.primary", "Answer"), button("Deny", () => this.#send(request, "deny", {}), "danger")),
		);
		form.onsubmit = (event) => {
			event.preventDefault();
			const answers = Object.fromEntries(questions.map((one, index) => [one.question, fields[index]?.value() ?? ""]));
			this.#send(request, "allow", { answers });
		};
		return form;
	}

	/** @param {Question} question @param {string} name @returns {{node: HTMLElement, value: () => string}} */
	#question(question, name) {
		const type = question.multiSelect ? "checkbox" : "radio";
		const boxes = question.options.map((option, index) => ({
			label: option.label,
			box: el("input", { type, name, checked: index === 0 && type === "radio" }),
			description: option.description,
		}));
		const own = el("input", { type: "text", "aria-label": `Own answer: ${question.question}`, placeholder: "Own answer" });
		const value = () => {
			const chosen = boxes.filter((one) => one.box.checked).map((one) => one.label);
			const text = own.value.trim();
			if (text && type === "radio") return text;
			return (text ? [...chosen, text] : chosen).join(", ");
		};
		const rows = boxes.map(({ label, box, description }) =>
			el("label.option", box, el("span", label, description ? el("small", description) : null)),
		);
		return { node: el("fieldset", el("legend", question.question), ...rows, own), value };
	}

	/** @param {Asked} request @param {string} decision @param {{note?: string, answers?: Record<string, any>}} more */
	#send(request, decision, more) {
		this.decide(request, decision, more);
	}

	/** Tab stays inside; Escape goes back to the composer and leaves the question open. @param {KeyboardEvent} event */
	#onKey(event) {
		if (event.key === "Escape") this.closed();
		if (event.key !== "Tab") return;
		const stops = /** @type {HTMLElement[]} */ ([...this.node.querySelectorAll("button:not(:disabled), input, pre[tabindex]")].filter(isStop));
		const [first, last] = [stops[0], stops.at(-1)];
		const at = document.activeElement;
		const goal = event.shiftKey ? (at === first || at === this.node ? last : null) : at === last ? first : null;
		if (!goal) return;
		event.preventDefault();
		goal.focus();
	}
}
