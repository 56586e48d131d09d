// An open question of a session, answered in the inbox.

import { button, el } from "../dom.js";
import { describe, inputText } from "../tools.js";
import { goTo } from "../router.js";
import { askedWords } from "./permission.js";

/** Most characters of an input that the inbox shows. To see more, open the session. */
const SHOWN = 300;

/** @param {HTMLElement} at @param {{id: string, agent: string, pending: Map<string, Asked>}} peek @param {(request: Asked, decision: string) => void} decide */
export function drawNeeds(at, { id, agent, pending }, decide) {
	const request = [...pending.values()][0];
	const told = request ? request.id : "";
	if (at.dataset.request === told) return;
	at.dataset.request = told;
	at.hidden = !request;
	if (!request) return at.replaceChildren();
	const { gist } = describe(request.tool, request.input);
	const text = request.questions?.[0]?.question ?? (gist || inputText(request.input));
	const short = text.length <= SHOWN && !request.questions && request.kind !== "trust" && request.kind !== "plan";
	const open = button(short ? "Open" : request.questions ? "Answer" : "Review", () => goTo(`#/s/${id}`));
	const choice = short
		? [
				button("Allow", () => decide(request, "allow"), "primary"),
				button("Deny", () => decide(request, "deny"), "danger"),
			]
		: [];
	at.replaceChildren(
		el("p", el("b", askedWords(request, agent)), ": ", el("span.snippet", text.slice(0, SHOWN))),
		el("div.choice", ...choice, open),
	);
}
