// A tool call in words: its kind, what it does, and to what. Pure.

const SHORT = 160;

/** @typedef {"command" | "edit" | "read" | "search" | "fetch" | "plan" | "todo" | "task" | "question" | "mcp" | "other"} ToolKind */

/** The kinds of tools, by their names in lower case. @type {Record<string, ToolKind>} */
const KINDS = {
	bash: "command",
	shell: "command",
	exec: "command",
	exec_command: "command",
	local_shell: "command",
	commandexecution: "command",
	command_execution: "command",
	command: "command",
	powershell: "command",
	edit: "edit",
	multiedit: "edit",
	write: "edit",
	notebookedit: "edit",
	apply_patch: "edit",
	filechange: "edit",
	file_change: "edit",
	patch: "edit",
	read: "read",
	grep: "search",
	glob: "search",
	ls: "search",
	webfetch: "fetch",
	websearch: "fetch",
	web_search: "fetch",
	exitplanmode: "plan",
	todowrite: "todo",
	update_plan: "todo",
	task: "task",
	agent: "task",
	delegate: "task",
	askuserquestion: "question",
};

/** @type {Record<ToolKind, string>} */
const VERBS = {
	command: "Run",
	edit: "Edit",
	read: "Read",
	search: "Search",
	fetch: "Fetch",
	plan: "Plan",
	todo: "To-do",
	task: "Delegate",
	question: "Ask",
	mcp: "",
	other: "",
};

/** What the person is asked to allow, after "Claude wants to". @type {Record<ToolKind, string>} */
const WISHES = {
	command: "run a command",
	edit: "edit files",
	read: "read a file",
	search: "search files",
	fetch: "read from the web",
	plan: "carry out a plan",
	todo: "change its to-do list",
	task: "start another agent",
	question: "ask something",
	mcp: "",
	other: "",
};

/** @param {string} name @param {any} input @returns {ToolKind} */
export function kindOf(name, input) {
	const known = KINDS[name.toLowerCase()];
	if (known) return known;
	if (name.startsWith("mcp__")) return "mcp";
	if (typeof input?.command === "string" || Array.isArray(input?.command)) return "command";
	return "other";
}

/** A tool's name for people. @param {string} name */
export function toolName(name) {
	const [, server, tool] = /^mcp__(.+?)__(.+)$/.exec(name) ?? [];
	return server ? `${server}: ${tool}` : name;
}

/** A path relative to the workspace. @param {any} path @param {string | undefined} workspace */
export function relative(path, workspace) {
	const text = String(path ?? "");
	if (!workspace) return text;
	const folder = workspace.endsWith("/") ? workspace : `${workspace}/`;
	if (`${text}/` === folder) return "";
	return text.startsWith(folder) ? text.slice(folder.length) : text;
}

/** The command of an input, if it has one. @param {any} input */
export function commandOf(input) {
	const command = input?.command ?? input?.cmd;
	return Array.isArray(command) ? command.join(" ") : typeof command === "string" ? command : "";
}

/** @param {any} input @param {string | undefined} workspace */
function paths(input, workspace) {
	const changes = Array.isArray(input?.changes) ? input.changes : [];
	const all = [
		input?.file_path ?? input?.notebook_path ?? input?.path,
		...changes.map((/** @type {any} */ one) => one?.path),
	].filter(Boolean);
	const more = all.length > 1 ? ` and ${all.length - 1} more` : "";
	return all.length ? relative(all[0], workspace) + more : "";
}

/** The object of the call, in one line. @param {ToolKind} kind @param {any} input @param {string | undefined} workspace */
function gistOf(kind, input, workspace) {
	if (typeof input === "string") return input;
	if (!input || typeof input !== "object") return "";
	if (kind === "command") return commandOf(input);
	if (kind === "edit" || kind === "read") {
		const from = input.offset ? `:${input.offset}` : "";
		return paths(input, workspace) + from;
	}
	if (kind === "search") {
		const pattern = input.pattern ?? input.query ?? "";
		const at = input.path ? relative(input.path, workspace) : "";
		return [pattern, at].filter(Boolean).join(" in ");
	}
	if (kind === "todo") {
		const list = input.todos ?? input.plan ?? [];
		const done = Array.isArray(list) ? list.filter((/** @type {any} */ one) => one?.status === "completed").length : 0;
		return Array.isArray(list) ? `${done} of ${list.length} done` : "";
	}
	if (kind === "plan") return /^#*\s*(.*)$/m.exec(String(input.plan ?? ""))?.[1] ?? "";
	if (kind === "question") return String(input.questions?.[0]?.question ?? "");
	const names = ["description", "title", "url", "query", "command", "file_path", "path", "pattern", "prompt", "text"];
	return String(names.map((name) => input[name]).find((one) => typeof one === "string" && one) ?? "");
}

/**
 * @param {string} name @param {any} input @param {string} [workspace]
 * @returns {{kind: ToolKind, verb: string, gist: string, wish: string}}
 */
export function describe(name, input, workspace) {
	const kind = kindOf(name, input);
	const gist = gistOf(kind, input, workspace).split("\n")[0]?.slice(0, SHORT) ?? "";
	return { kind, verb: VERBS[kind] || toolName(name), gist, wish: WISHES[kind] || `use ${toolName(name)}` };
}

/** Any input as text. @param {any} value */
export function inputText(value) {
	if (typeof value === "string") return value;
	if (value === null || value === undefined) return "";
	if (typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value, null, 2);
	return Object.entries(value)
		.map(([name, one]) => `${name}: ${typeof one === "string" ? one : JSON.stringify(one, null, 2)}`)
		.join("\n");
}

/** Files of the workspace that a call is about, relative to it, each once. @param {Pick<Tool, "input" | "diff">} tool @param {string | undefined} workspace @returns {string[]} */
export function filesOf({ input, diff }, workspace) {
	const changes = Array.isArray(input?.changes) ? input.changes : [];
	const named = [...(diff ?? []), ...changes].map((/** @type {any} */ one) => one?.path);
	const all = [input?.file_path ?? input?.notebook_path ?? input?.path, ...named].filter(
		(one) => typeof one === "string",
	);
	const inside = all.map((one) => relative(one, workspace)).filter((one) => one && !one.startsWith("/"));
	return [...new Set(inside)];
}
