// What is shown if no session is open: how to begin, and what must be set up first.

import { button, el } from "../dom.js";
import { agentName } from "../names.js";

/**
 * What is not ready, in words, and how to change it.
 * @param {any} status the answer of /api/status
 * @returns {{what: string, note: string, how: string}[]}
 */
export function missing(status) {
	const found = [];
	for (const agent of Array.isArray(status?.agents) ? status.agents : []) {
		if (agent.ready !== false) continue;
		const name = agent.name === "claude" ? "Claude Code" : agentName(agent.name);
		const signIn = /not signed in/.test(agent.problem ?? "");
		const problem = agent.problem ?? "not ready";
		found.push({
			what: signIn ? `${name} isn't signed in` : `${name}: ${problem}`,
			note: signIn ? `${agent.name}: ${problem}` : "",
			how: agent.fix ?? "",
		});
	}
	const workspace = status?.workspace;
	if (workspace && !workspace.ok) {
		found.push({
			what: `The folder ${workspace.path ?? ""} does not exist`,
			note: "",
			how: "builderos serve --workspace FOLDER",
		});
	}
	return found;
}

/** @param {any} status @param {number} sessions @param {boolean} [brief] show only what is missing */
export function welcomeView(status, sessions, brief) {
	const wrong = missing(status);
	const desk = button("On this computer", () => dispatchEvent(new Event("desk")));
	if (brief && !wrong.length) return desk;
	return el(
		"section.welcome",
		{ "aria-label": "Welcome" },
		el("h2", sessions ? "Choose a session" : "Welcome"),
		el(
			"p",
			sessions
				? "Or start a new one."
				: "A session is a conversation with one agent. All your devices can follow it and take part.",
		),
		...(wrong.length ? [setUp(wrong)] : []),
		desk,
	);
}

/** @param {{what: string, note: string, how: string}[]} wrong */
function setUp(wrong) {
	const rows = wrong.map(({ what, note, how }) =>
		el("li", el("b", what), note ? el("small", ` ${note}`) : null, how ? el("code", how) : null),
	);
	return el("div.missing", el("h3", "Finish setting up"), el("ul", ...rows));
}
