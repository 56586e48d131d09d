// The entries of a conversation in order, and where some between them are not known yet. Pure.
//
// The place of an entry is a row of the journal: a message's `user_message`, an answer's `turn_started`, a line's own. So the
// places of all entries differ, whether they came live or in a page of the past.

import { pastAnswer, userEntry } from "./entries.js";

export class Timeline {
	/** @type {Entry[]} by `seq` */
	entries = [];
	/** Whether the entries before the first are known to be none. */
	complete = false;
	/** @type {Map<string, UserEntry>} */
	byMessage = new Map();
	/** @type {Map<string, AnswerEntry>} */
	byTurn = new Map();
	/** @type {Set<string>} keys of entries that changed since somebody emptied this */
	dirty = new Set();
	/** @type {Map<string, string>} how answers look that have to come again */
	rendered = new Map();

	/** @param {boolean} complete */
	clear(complete) {
		this.entries = [];
		this.byMessage.clear();
		this.byTurn.clear();
		this.complete = complete;
	}

	/** Where an entry of this place is, or would be. @param {number} seq */
	indexOf(seq) {
		let [low, high] = [0, this.entries.length];
		while (low < high) {
			const middle = (low + high) >> 1;
			if (/** @type {Entry} */ (this.entries[middle]).seq < seq) low = middle + 1;
			else high = middle;
		}
		return low;
	}

	/** @param {Entry} entry */
	insert(entry) {
		const index = this.indexOf(entry.seq);
		if (this.entries[index]?.seq === entry.seq) return;
		this.entries.splice(index, 0, entry);
		if (entry.kind === "user") this.byMessage.set(entry.messageId, entry);
		if (entry.kind === "answer") {
			this.byTurn.set(entry.turn, entry);
			entry.html ??= this.rendered.get(entry.turn) ?? null;
		}
		this.dirty.add(entry.key);
	}

	/** Take the frame `rendered`. @param {string} turn @param {string | null | undefined} html */
	setHtml(turn, html) {
		const answer = this.byTurn.get(turn);
		if (!answer || typeof html !== "string" || answer.html === html) return;
		answer.html = html;
		this.dirty.add(answer.key);
	}

	/**
	 * Take a page of `/messages`, and note where something is missing between what is known.
	 * @param {any[]} messages ascending
	 * @param {{before?: number, after?: number, more: boolean}} asked which place the page goes up to or begins after, and
	 *   whether there is more on its other side
	 */
	page(messages, { before, after, more }) {
		const first = messages[0]?.seq ?? before ?? after;
		const last = messages.at(-1)?.seq ?? first;
		const knew = { first: this.#has(first), last: this.#has(last) };
		for (const one of messages) this.#past(one);
		this.#join(first, last);
		const end = this.entries[this.indexOf(last)];
		if (before !== undefined) {
			if (this.#has(before)) this.#join(last, before);
			else if (end && !knew.last) end.gapAfter = true;
			const previous = this.entries[this.indexOf(first) - 1];
			if (!previous) this.complete ||= !more;
			else if (!knew.first || !messages.length) previous.gapAfter = more;
		} else if (after !== undefined) {
			this.#join(after, first);
			if (end && !knew.last) end.gapAfter = more;
		}
	}

	/** @param {number} seq */
	#has(seq) {
		return this.entries[this.indexOf(seq)]?.seq === seq;
	}

	/** Nothing is missing between these two places. @param {number} first @param {number} last */
	#join(first, last) {
		for (const one of this.entries.slice(this.indexOf(first), this.indexOf(last))) one.gapAfter = false;
	}

	/** @param {any} one */
	#past(one) {
		if (one.role === "user") {
			if (!this.byMessage.has(one.message_id)) this.insert(userEntry(one.message_id, one, one.status));
			return;
		}
		const answer = this.byTurn.get(one.turn_id);
		if (!answer) this.insert(pastAnswer(one));
		else if (answer.status !== "running" && one.status !== "running") this.setHtml(one.turn_id, one.html);
	}
}
