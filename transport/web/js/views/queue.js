// The messages that wait for their turn, above the box: how many, in what order, and why they do not run.

import { button, clockTime, el, setText } from "../dom.js";
import { deviceId } from "../identity.js";

/** Most characters of a message in the list. */
const SHOWN = 120;

/** Why a queue waits, by the server's code. @type {Record<string, string>} */
const REASONS = {
	usage_limit: "the usage limit is reached",
	context_full: "the agent's context is full",
	conversation_refused: "the agent's service refused the conversation",
	open_elsewhere: "the session is open in a terminal",
};

/** Why the queue waits, as a sentence; "" if it does not. @param {Journal["held"]} held */
export function heldWords(held) {
	if (!held?.code) return "";
	const then = held.until ? `They run at ${clockTime(held.until)}.` : "A new message runs at once.";
	return `Queued messages wait: ${REASONS[held.code] ?? held.code.replaceAll("_", " ")}. ${then}`;
}

/** @param {Journal} journal @returns {UserEntry[]} in the order in which they run */
export function queueOf({ entries }) {
	const from = entries.findLastIndex((one) => one.kind !== "user" || one.state !== "queued") + 1;
	return /** @type {UserEntry[]} */ (entries.slice(from)).filter((one) => !one.later);
}

/**
 * Send a queued message again, behind the others. It is sent once the server has confirmed that it does not run.
 * @param {OpenSession} session @param {UserEntry} entry
 */
export function moveToEnd(session, entry) {
	const { messageId, text } = entry;
	if (!session.act({ type: "cancel", message_id: messageId })) return;
	const watch = () => {
		const state = session.journal.byMessage.get(messageId)?.state;
		if (state === "queued") return;
		session.watchers.delete(watch);
		const files = entry.files.map(({ filename, mime_type = "", size = 0, url }) => ({
			name: filename,
			type: mime_type,
			size,
			...(url ? { url } : {}),
		}));
		if (state === "cancelled") session.send(text, files).catch(() => session.propose(text));
	};
	session.watchers.add(watch);
}

export class QueueView {
	constructor() {
		this.held = el("p.hint", { hidden: true });
		this.count = el("summary");
		this.list = el("ol");
		this.details = el("details", { hidden: true }, this.count, this.list);
		this.node = el("div.queue", this.held, this.details);
		this.told = "";
	}

	/** @param {OpenSession} session @param {boolean} mayDrive */
	update(session, mayDrive) {
		const queue = queueOf(session.journal);
		const why = queue.length ? heldWords(session.journal.held) : "";
		setText(this.held, why);
		this.held.hidden = !why;
		this.details.hidden = queue.length < 2;
		const told = JSON.stringify([mayDrive, queue.map((one) => one.messageId)]);
		if (told === this.told) return;
		this.told = told;
		setText(this.count, `${queue.length} queued`);
		this.list.replaceChildren(
			...queue.map((one, index) => this.#row(session, one, mayDrive && index < queue.length - 1)),
		);
	}

	/** @param {OpenSession} session @param {UserEntry} one @param {boolean} mayMove */
	#row(session, one, mayMove) {
		// A message that is sent again gets a new author, so a person can move only messages of this device.
		const mine = one.device === deviceId();
		return el(
			"li",
			el("span", one.text.slice(0, SHOWN)),
			mayMove && mine ? button("Move to the end", () => moveToEnd(session, one), "quiet") : null,
		);
	}
}
