// Search of all sessions: the hits are links to their places.

import { ago, button, clockTime, el } from "../dom.js";
import { sessionName } from "../names.js";
import { ROW } from "./row.js";

/**
 * @param {HTMLInputElement} box @param {HTMLElement} at @param {SessionInfo[]} known
 * @param {(query: string) => Promise<Hit[]>} ask
 */
export async function search(box, at, known, ask) {
	const query = box.value.trim();
	at.replaceChildren();
	if (!query) return;
	const clear = () => {
		box.value = "";
		at.replaceChildren();
		box.focus();
	};
	try {
		const hits = await ask(query);
		const list = el("ul", { "aria-label": "Search results" }, ...hits.map((hit) => hitView(hit, known)));
		const words = hits.length ? `${hits.length} found` : "Nothing found";
		at.replaceChildren(el("p.label", { "aria-live": "polite" }, words, button("Clear", clear, "quiet")), list);
	} catch (error) {
		at.replaceChildren(
			el("p", { role: "alert" }, error instanceof Error ? error.message : "Search did not work. Try again."),
		);
	}
}

/** @param {Hit} hit @param {SessionInfo[]} known */
function hitView(hit, known) {
	const title = sessionName(known.find((one) => one.session_id === hit.session_id)?.title ?? "", hit.session_id);
	const who = hit.role === "user" ? "you" : hit.role === "tool" ? "tool" : "agent";
	const href = `#/s/${hit.session_id}?at=${hit.seq}`;
	// A link to the present address changes nothing, and the person may have scrolled away since.
	const onclick = () => location.hash === href && dispatchEvent(new Event("hashchange"));
	const when = `${title} · ${who} · ${ago(hit.timestamp)}`;
	return el(
		"li",
		el(
			"a",
			{ href, onclick, title: clockTime(hit.timestamp), class: ROW },
			el("span.snippet", hit.snippet),
			el("span.meta", when),
		),
	);
}

/** Fetch a place of the past with its neighbours. @param {OpenSession} session @param {number} seq @returns {Promise<string>} the key of its entry */
export async function around(session, seq) {
	const { client, id } = session;
	const path = `/api/sessions/${encodeURIComponent(id)}/events?after_seq=${seq - 1}&limit=1`;
	const [event] = (await client.api.json(path)).events;
	const key = event?.type === "user_message" ? `m:${event.message_id}` : `t:${event?.turn_id}`;
	if (!session.journal.entries.some((one) => one.key === key)) await session.near(seq);
	return key;
}
