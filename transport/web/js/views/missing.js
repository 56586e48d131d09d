// Why a session cannot be shown, and how to begin another one in its place.

import { button, el } from "../dom.js";
import { agentName } from "../names.js";

/** @param {OpenSession} session @param {(agent: string) => void} create @returns {HTMLElement[]} */
export function missing({ failure, client }, create) {
	const why =
		failure === "unknown_session"
			? "This session does not exist any more."
			: "This agent is not in the server's config.";
	const choice = client.agents.map((name) => button(`Start a new session with ${agentName(name)}`, () => create(name)));
	return [el("p", { role: "alert" }, why), ...(client.may("drive") ? [el("div.choice", ...choice)] : [])];
}
