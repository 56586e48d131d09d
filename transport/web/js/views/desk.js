// The person's own sessions in terminals of the server's computer: found, and opened here.

import { ago, button, el, moreStyles, setText } from "../dom.js";
import { agentName } from "../names.js";
import { goTo } from "../router.js";
import { confirmed, openDialog } from "./dialogs.js";
import { atMachine, machineChoice } from "./machines.js";

const PAGE = 50;
const TYPED_MS = 250;

/** @param {Client} client @param {(text: string) => void} say */
export function deskDialog(client, say) {
	const query = el("input", {
		type: "search",
		"aria-label": "Search this computer",
		placeholder: "Search",
		autocomplete: "off",
		autofocus: true,
	});
	const list = el("ul.desk", { "aria-label": "On this computer" });
	const note = el("p.hint", { role: "status" }, "Looking …");
	const more = button("More", () => load(false), "quiet");
	more.hidden = true;
	const machine = machineChoice(client, () => load(true));
	const dialog = openDialog("On this computer", machine.node, query, list, note, more);
	/** @type {string | null} */
	let before = null;
	let asked = 0;
	/** @type {ReturnType<typeof setTimeout> | undefined} */
	let timer;
	query.oninput = () => {
		clearTimeout(timer);
		timer = setTimeout(() => load(true), TYPED_MS);
	};

	/** @param {boolean} again */
	async function load(again) {
		const mine = ++asked;
		const asking = new URLSearchParams({
			limit: String(PAGE),
			...(query.value.trim() ? { q: query.value.trim() } : {}),
			...(before && !again ? { before } : {}),
			...atMachine(machine.chosen()),
		});
		try {
			const page = await client.api.json(`/api/desk/sessions?${asking}`);
			if (mine !== asked) return;
			if (again) list.replaceChildren();
			list.append(...page.sessions.map((/** @type {DeskSession} */ one) => row(one, open)));
			before = page.next_before;
			more.hidden = !before;
			const left = page.unreadable ? ` ${page.unreadable} can't be read.` : "";
			setText(note, list.children.length ? left.trim() : `The agents have no sessions here.${left}`);
		} catch (error) {
			if (mine === asked) setText(note, /** @type {Error} */ (error).message);
		}
	}

	/** @param {DeskSession} one @param {HTMLButtonElement} pressed */
	async function open(one, pressed) {
		pressed.disabled = true;
		try {
			const path = `/api/desk/sessions/${encodeURIComponent(one.agent)}/${encodeURIComponent(one.native_id)}/open`;
			const where = new URLSearchParams(atMachine(machine.chosen()));
			const { session_id } = await client.api.json(`${path}?${where}`, { method: "POST" });
			dialog.close();
			goTo(`#/s/${session_id}`);
		} catch (error) {
			pressed.disabled = false;
			say(/** @type {Error} */ (error).message);
		}
	}

	load(true);
}

/** @param {DeskSession} one @param {(one: DeskSession, pressed: HTMLButtonElement) => void} open */
function row(one, open) {
	const project = one.workspace.replace(/\/+$/, "").split("/").pop();
	const live = one.where ? ` · open in a terminal${one.where.status === "idle" ? "" : ` (${one.where.status})`}` : "";
	const words = [
		agentName(one.agent),
		project,
		ago(one.last_activity),
		one.message_count && `${one.message_count} messages`,
	]
		.filter(Boolean)
		.join(" · ");
	const opens = button("Open", () => open(one, opens));
	opens.setAttribute("aria-label", `Open ${one.title}`);
	return el(
		"li",
		{ "data-live": one.where ? one.where.status : null },
		el("div", el("b", one.title), el("small", words + live)),
		opens,
	);
}

/**
 * Show which terminal has a session open, and the way to continue it here.
 * @param {import("./conversation.js").ConversationView} view @param {OpenSession} session
 */
export function banner(view, session) {
	const { client } = view;
	if (view.session !== session) return;
	const where = client.sessions.known.get(session.id)?.where;
	const words = el("span");
	const node = el("div.elsewhere", { role: "note", "aria-label": "Open in a terminal", hidden: !where }, words);
	if (where) {
		const doing = where.status === "busy" ? " (working)" : where.status === "waiting" ? " (waiting for you)" : "";
		const { machine } = session;
		const host = machine ? (machine.name ?? machine.id) : location.hostname;
		setText(words, `${agentName(where.program)} has this session open in a terminal on ${host}${doing}.`);
		if (client.may("drive") && where.pid !== null) node.append(button("Take over", () => takeOver(session, where)));
	}
	if (view.elsewhere?.textContent === node.textContent && view.elsewhere.hidden === node.hidden) return;
	if (view.elsewhere) view.elsewhere.replaceWith(node);
	else view.composer.node.before(node);
	view.elsewhere = node;
	moreStyles();
}

/** @param {OpenSession} session @param {Where} where */
async function takeOver(session, where) {
	const works = where.status !== "idle";
	const what = "The program in the terminal is at work. Taking over ends it and cuts that off.";
	if (!works || (await confirmed(what, "Take over"))) session.act({ type: "take_over", force: works });
}
