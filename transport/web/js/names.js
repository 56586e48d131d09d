// Names of agents, sessions, modes and scopes. Pure.

/** The name of each scope of a key, from the fewest to the most rights. @type {Record<string, string>} */
export const SCOPES = { view: "View only", approve: "View and approve", drive: "Full use", admin: "Admin" };

/** The name of a session. An id that a client made up is not a useful name. @param {string} title @param {string} id */
export function sessionName(title, id) {
	return title || (/^s-[0-9a-f]{12}$/.test(id) ? "New session" : id);
}

/** The name of an agent. @param {string} name */
export function agentName(name) {
	const known = { claude: "Claude", codex: "Codex", gemini: "Gemini", opencode: "OpenCode" };
	return known[/** @type {"claude"} */ (name)] ?? name;
}

/** What to say of a session's machine; "" on a server that has all sessions for itself. @param {Machine | null} [machine] */
export function machineWords(machine) {
	return machine ? (machine.name ?? machine.id) + (machine.state === "away" ? " is away" : "") : "";
}

/** What a message waits for that is still here. @param {Machine | null} [machine] */
export function waitWords(machine) {
	return machine?.state === "away" ? `waits for ${machine.name ?? machine.id}` : "waiting to send";
}

/** @type {Record<string, string>} */
const NAMES = {
	ask: "Ask first",
	edits: "Edit without asking",
	plan: "Plan only",
	auto: "Agent decides",
	bypass: "Never ask",
};

/** @param {Mode} mode */
export function modeName(mode) {
	return NAMES[mode.kind] ?? mode.name ?? mode.id;
}

/** The name of the mode that is set; "" for the agent's own. @param {string | null | undefined} id @param {Offer | null} offer */
export function modeOf(id, offer) {
	if (!id) return "";
	const known = offer?.modes?.find((one) => one.id === id);
	const usual = { default: "ask", acceptEdits: "edits", plan: "plan", bypassPermissions: "bypass" };
	return known ? modeName(known) : (NAMES[usual[/** @type {"plan"} */ (id)] ?? ""] ?? id);
}
