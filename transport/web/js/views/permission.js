// What a person must decide. It covers the composer but not the conversation, which a person needs for the decision.

import { NOT_LOADED, button, el, setText } from "../dom.js";
import { agentName } from "../names.js";
import { describe, inputText, toolName } from "../tools.js";

/** @typedef {{note?: string, answers?: Record<string, any>, mode?: string, input?: Record<string, any>, option?: string}} More */
/** @typedef {(request: Asked, decision: string, more: More) => void} Decide */

/** Most characters of an input that are shown. Nobody reads more before a decision. */
const SHOWN = 20_000;

/** In a group of exclusive choices Tab stops only at the chosen one. @param {Element} node */
function isStop(node) {
	const box = /** @type {HTMLInputElement} */ (node);
	return !box.closest("[hidden]") && (box.type !== "radio" || box.checked);
}

/** Whether the person is writing somewhere else. @param {Element} node */
function isTyping(node) {
	const at = /** @type {HTMLInputElement | null} */ (document.activeElement);
	return at !== null && !node.contains(at) && /^(text|search|textarea)$/.test(at.type ?? "") && at.value !== "";
}

/** What is asked, in a few words. @param {Asked} request @param {string} agent */
export function askedWords(request, agent) {
	const who = agentName(agent);
	if (request.questions) return `${who} asks`;
	if (request.kind === "trust") return "This folder holds things that would run by themselves";
	const { kind, wish } = describe(request.tool, request.input);
	return kind === "plan" || request.kind === "plan" ? `${who} has a plan` : `${who} wants to ${wish}`;
}

export class PermissionView {
	/** @param {{decide: Decide, closed: () => void, waits: (text: string) => void, workspace: () => string | undefined, offer: () => Offer | null}} acts */
	constructor(acts) {
		this.acts = acts;
		this.node = el("section.permission", {
			role: "alertdialog",
			"aria-label": "Permission",
			"aria-describedby": "asked asked-text",
			tabindex: -1,
			hidden: true,
		});
		this.node.addEventListener("keydown", (event) => this.#onKey(event));
		this.shown = "";
		this.mayDrive = false;
	}

	/**
	 * @param {Asked[]} pending the oldest is shown
	 * @param {{agent: string, mayDecide: boolean, mayDrive: boolean, live: boolean}} by
	 */
	update(pending, by) {
		const [request] = pending;
		const version = request ? `${request.id} ${pending.length} ${by.mayDecide} ${by.live}` : "";
		if (version === this.shown) return;
		const [isNew, hadFocus] = [
			!this.shown || this.request?.id !== request?.id,
			this.node.contains(document.activeElement),
		];
		const only = !isNew && request;
		this.shown = version;
		this.request = request;
		if (only) {
			for (const one of this.node.querySelectorAll("button")) one.disabled = !by.live;
			this.count && setText(this.count, pending.length > 1 ? ` 1 of ${pending.length}` : "");
			return;
		}
		this.node.hidden = !request;
		this.node.replaceChildren(
			...(request ? this.#draw(request, pending.length, by) : []).filter((one) => one !== null),
		);
		if (request) this.#present(request, by.agent);
		else {
			this.acts.waits("");
			if (hadFocus) this.acts.closed();
		}
	}

	/** Take the focus, but never from a person who writes. @param {Asked} request @param {string} agent */
	#present(request, agent) {
		const typing = isTyping(this.node);
		this.acts.waits(typing ? `A question waits: ${askedWords(request, agent)}` : "");
		// Not on a button: typed text must not decide.
		if (!typing) this.node.focus({ preventScroll: true });
	}

	/** Go to the waiting question. */
	enter() {
		this.acts.waits("");
		this.node.focus();
	}

	/** @param {Asked} request @param {number} count @param {{agent: string, mayDecide: boolean, mayDrive: boolean}} by */
	#draw(request, count, { agent, mayDecide, mayDrive }) {
		const asks = askedWords(request, agent);
		this.mayDrive = mayDrive;
		this.count = el("small", count > 1 ? ` 1 of ${count}` : "");
		const name = toolName(request.tool);
		const named =
			request.questions || request.kind === "trust" || asks.includes(name) ? null : el("small.toolname", name);
		const head = el(
			"div",
			{ id: "asked" },
			el("p.asks", el("b", asks), this.count, named),
			request.title && request.title !== asks ? el("p", request.title) : null,
		);
		if (!mayDecide) return [head, this.#input(request), el("p.hint", "View only: this device can't approve.")];
		if (request.questions) return [head, this.#later("form", request, agent)];
		if (request.kind === "trust")
			return [
				head,
				this.#later("trust", request, agent),
				mayDrive ? null : el("p.hint", "View only: this device can't decide about a folder."),
			];
		return [head, this.#input(request), ...this.#choice(request, agent)];
	}

	/** Load the part that a kind of question needs, at its first use. @param {"form" | "trust" | "edit" | "modes"} what @param {Asked} request @param {string} agent */
	#later(what, request, agent) {
		const at = el(
			"div",
			{ class: `asked-${what}` },
			what === "modes" || what === "edit" ? null : el("p.hint", "Loading …"),
		);
		const load = () =>
			import("./asks.js").then(
				(asks) =>
					at.replaceChildren(
						...asks[what](request, {
							agent,
							decide: this.acts.decide,
							offer: this.acts.offer(),
							mayDrive: this.mayDrive,
						}),
					),
				() => at.replaceChildren(el("p.hint", NOT_LOADED), button("Try again", load, "quiet")),
			);
		load();
		return at;
	}

	/** @param {Asked} request */
	#input(request) {
		const text = inputText(request.input);
		const at = el(
			"div.asked",
			{ id: "asked-text" },
			el("pre", { tabindex: 0 }, text.slice(0, SHOWN) + (text.length > SHOWN ? " …" : "")),
		);
		const { kind } = describe(request.tool, request.input);
		if (kind !== "other" && kind !== "mcp") {
			import("./toolbody.js").then(
				({ drawInput }) =>
					at.replaceChildren(
						...drawInput({ name: request.tool, input: request.input, diff: request.diff }, this.acts.workspace()),
					),
				() => {}, // the plain text stays
			);
		}
		return at;
	}

	/** @param {Asked} request @param {string} agent */
	#choice(request, agent) {
		const reason = el("input", {
			type: "text",
			"aria-label": "Reason",
			placeholder: "Tell the agent why (optional)",
			maxlength: 2000,
			hidden: true,
		});
		const act = (/** @type {string} */ decision) => () => {
			const note = decision === "deny" ? reason.value.trim() : "";
			this.acts.decide(request, decision, note ? { note } : {});
		};
		const why = button(
			"Deny with a reason …",
			() => {
				reason.hidden = false;
				why.hidden = true;
				reason.focus();
			},
			"quiet",
		);
		reason.onkeydown = (event) => {
			if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
			event.preventDefault();
			act("deny")();
		};
		const lasting = !request.options.length || request.options.includes("allow_session");
		// The agent's own options, with their labels. The server knows whether an option allows or denies.
		const own = request.options.filter((option) => !["allow", "deny", "allow_session"].includes(option));
		const grant =
			lasting && request.grant
				? el("p.hint.grant", "“Allow for this session” lets ", agentName(agent), ": ", el("b", request.grant))
				: null;
		const isPlan = request.kind === "plan";
		const edit = isPlan && request.editable.includes("plan") ? this.#later("edit", request, agent) : null;
		const modes = isPlan || request.modes.length ? this.#later("modes", request, agent) : null;
		const made = el(
			"div.decision",
			reason,
			el(
				"div.choice",
				!request.options.length || request.options.includes("allow") ? button("Allow", act("allow"), "primary") : null,
				lasting ? button("Allow for this session", act("allow_session")) : null,
				...own.map((option) => button(option, () => this.acts.decide(request, "allow", { option }))),
				button("Deny", act("deny"), "danger"),
			),
			modes,
			why,
		);
		return [grant, edit, made];
	}

	/** Tab stays inside. Escape returns to the composer and leaves the question open. @param {KeyboardEvent} event */
	#onKey(event) {
		if (event.key === "Escape") this.acts.closed();
		// WebKit on Linux names the key of Shift and Tab `Unidentified`.
		if (event.key !== "Tab" && event.code !== "Tab") return;
		const stops = /** @type {HTMLElement[]} */ (
			[...this.node.querySelectorAll("button:not(:disabled), input, select, textarea, pre[tabindex]")].filter(isStop)
		);
		const [first, last] = [stops[0], stops.at(-1)];
		const at = document.activeElement;
		const goal = event.shiftKey ? (at === first || at === this.node ? last : null) : at === last ? first : null;
		if (!goal) return;
		event.preventDefault();
		goal.focus();
	}
}
