// What stands where no session is open: how to begin, and what is missing before one can.

import { el } from "../dom.js";

/**
 * What is not right, in words and with the way to fix it.
 * @param {any} status the answer of /api/status
 * @returns {{what: string, fix: string}[]}
 */
export function missing(status) {
	const found = [];
	for (const agent of Array.isArray(status?.agents) ? status.agents : []) {
		if (agent.ready !== false) continue;
		found.push({ what: `${agent.name}: ${agent.problem ?? "not ready"}`, fix: agent.fix ?? "" });
	}
	const workspace = status?.workspace;
	if (workspace && !workspace.ok) {
		found.push({ what: `The workspace ${workspace.path ?? ""} is not there`, fix: "builderos serve --workspace FOLDER" });
	}
	return found;
}

/** @param {any} status @param {number} sessions */
export function welcomeView(status, sessions) {
	const wrong = missing(status);
	const agents = (Array.isArray(status?.agents) ? status.agents : []).filter((/** @type {any} */ one) => one.ready);
	return el(
		"section.welcome",
		{ "aria-label": "Welcome" },
		el("h2", sessions ? "Choose a session" : "Welcome"),
		el("p", sessions ? "Or begin another one." : "A session is a conversation with one agent. All your devices can follow it and take part."),
		agents.length ? el("p.hint", `Ready: ${agents.map((/** @type {any} */ one) => one.name).join(", ")}.`) : null,
		...(wrong.length ? [problems(wrong)] : []),
	);
}

/** @param {{what: string, fix: string}[]} wrong */
function problems(wrong) {
	const rows = wrong.map(({ what, fix }) => el("li", el("b", what), fix ? el("code", fix) : null));
	return el("div.missing", el("h3", "Something is missing"), el("ul", ...rows));
}
