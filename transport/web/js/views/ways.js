// What helps after a turn: continuing once a limit is over, a fresh start, a fork.

import { button, clockTime } from "../dom.js";
import { randomHex } from "../identity.js";
import { goTo } from "../router.js";

/** @param {OpenSession} session @param {AnswerEntry} entry @param {(text: string) => void} say @returns {HTMLElement[]} */
export function ways(session, entry, say) {
	const { end, turn } = entry;
	const found = [];
	if (end?.resetsAt) {
		const later = end.resetsAt;
		// If two devices press this, the server creates one message.
		found.push(
			button(
				`Continue at ${clockTime(later)}`,
				() => session.send("Continue.", [], "queue", { id: `continue-${turn}`, later }),
				"quiet",
			),
		);
	}
	if (end?.ways.includes("compact"))
		found.push(button("Shorten the context", () => session.send("/compact", []), "quiet"));
	if (end?.ways.includes("renew"))
		found.push(button("Restart with the history", () => session.act({ type: "renew" }), "quiet"));
	if (end?.ways.includes("fork")) found.push(button("Fork", () => fork(session, turn, "", say), "quiet"));
	return found;
}

/**
 * Create a session from what was said up to a turn, and go there.
 * @param {OpenSession} session @param {string | null} turn @param {string} text the text in its box @param {(text: string) => void} say
 */
export async function fork(session, turn, text, say) {
	const id = `s-${randomHex(6)}`;
	const title = session.journal.title ? { title: `${session.journal.title} (fork)`.slice(0, 200) } : {};
	try {
		await session.client.api.json(`/api/sessions/${encodeURIComponent(session.id)}/fork`, {
			method: "POST",
			body: { after_turn: turn, session_id: id, ...title },
		});
	} catch (error) {
		return say(error instanceof Error ? error.message : "Something went wrong.");
	}
	goTo(`#/s/${id}`);
	if (text) setTimeout(() => session.client.open?.id === id && session.client.open.propose(text));
}

/** The turn before this message's, for a fork after it. @param {OpenSession} session @param {UserEntry} entry */
export function turnBefore({ journal }, entry) {
	const index = journal.entries.indexOf(entry);
	const before = journal.entries.slice(0, index).findLast((one) => one.kind === "answer");
	return before?.kind === "answer" ? before.turn : null;
}

/** Send the messages of a failed turn again. @param {OpenSession} session @param {AnswerEntry} entry */
export function again(session, { turn }) {
	for (const one of session.journal.entries) {
		if (one.kind !== "user" || one.turn !== turn) continue;
		const files = one.files.map((file) => ({
			name: file.filename,
			type: file.mime_type ?? "",
			size: file.size ?? 0,
			...(file.url ? { url: file.url } : {}),
		}));
		session.send(one.text, files);
	}
}
