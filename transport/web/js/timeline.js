// The entries of a conversation in reading order, and which parts of the journal are known. Pure.
//
// A message is directly before its turn's answer, even if it waited in the queue while another turn ran. Messages that still
// wait are at the end. So an entry has a `place`, which is close to its row of the journal but not always equal. An answer has
// the place of `turn_started`; a message has one just before its turn's answer.

import { pastAnswer, userEntry } from "./entries.js";

/** Where the queue begins: after every possible row of the journal. */
const QUEUE = 2 ** 40;

export class Timeline {
	/** @type {Entry[]} by `place` */
	entries = [];
	/** @type {[number, number][]} the known parts of the journal, from and to, ascending */
	ranges = [];
	/** @type {Map<string, UserEntry>} */
	byMessage = new Map();
	/** @type {Map<string, AnswerEntry>} */
	byTurn = new Map();
	/** @type {Set<string>} keys of entries that changed since this was last emptied */
	dirty = new Set();
	/** @type {Map<string, string>} rendered forms of answers that will come again */
	rendered = new Map();

	/** @param {number} from the first known row; all later rows will be known too */
	clear(from) {
		this.entries = [];
		this.ranges = [[from, Infinity]];
		this.byMessage.clear();
		this.byTurn.clear();
	}

	/** Whether it is known that there are no entries before the first. */
	get complete() {
		return (this.ranges[0]?.[0] ?? Infinity) <= 1;
	}

	/** The index of the first entry at or after this place. @param {number} place */
	indexOf(place) {
		let [low, high] = [0, this.entries.length];
		while (low < high) {
			const middle = (low + high) >> 1;
			if (/** @type {Entry} */ (this.entries[middle]).place < place) low = middle + 1;
			else high = middle;
		}
		return low;
	}

	/** @param {Entry} entry */
	#placeOf(entry) {
		if (entry.kind !== "user") return entry.seq;
		const answer = entry.turn === null ? undefined : this.byTurn.get(entry.turn);
		// Several messages of one turn keep their order between the row before the answer's and the answer's own.
		if (answer) return answer.seq - 0.5 + (0.4 * entry.seq) / (entry.seq + 1e6);
		return entry.state === "queued" ? QUEUE + entry.seq : entry.seq;
	}

	/** @param {Entry} entry */
	insert(entry) {
		if (
			entry.kind === "user"
				? this.byMessage.has(entry.messageId)
				: entry.kind === "answer" && this.byTurn.has(entry.turn)
		)
			return;
		if (entry.kind === "user") this.byMessage.set(entry.messageId, entry);
		if (entry.kind === "answer") {
			this.byTurn.set(entry.turn, entry);
			entry.html ??= this.rendered.get(entry.turn) ?? null;
		}
		this.#put(entry);
		if (entry.kind === "answer")
			for (const one of this.byMessage.values()) if (one.turn === entry.turn) this.replace(one);
		this.dirty.add(entry.key);
	}

	/** @param {Entry} entry */
	#put(entry) {
		entry.place = this.#placeOf(entry);
		const index = this.indexOf(entry.place);
		if (this.entries[index]?.key !== entry.key) this.entries.splice(index, 0, entry);
	}

	/** Move an entry to its present place. @param {UserEntry} entry */
	replace(entry) {
		if (entry.place === this.#placeOf(entry)) return;
		const index = this.indexOf(entry.place);
		if (this.entries[index] === entry) this.entries.splice(index, 1);
		this.#put(entry);
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
	 * Take a page of `/messages`.
	 * @param {any[]} messages ascending
	 * @param {{before?: number, after?: number, more: boolean}} asked which row the page goes up to or begins after, and
	 *   whether there is more on its other side
	 */
	page(messages, { before, after, more }) {
		for (const one of messages) this.#past(one);
		const [first, last] = [messages[0]?.seq ?? 0, messages.at(-1)?.seq ?? 0];
		if (before !== undefined) this.know(more ? first : 0, before - 1);
		else if (after !== undefined) this.know(after + 1, more ? last : Infinity);
	}

	/** All entries in this interval are known. @param {number} from @param {number} to */
	know(from, to) {
		if (from > to) return;
		const apart = this.ranges.filter(([start, end]) => end < from - 1 || start > to + 1);
		const joined = this.ranges.filter((one) => !apart.includes(one));
		const starts = joined.map(([start]) => start);
		const ends = joined.map(([, end]) => end);
		this.ranges = [...apart, /** @type {[number, number]} */ ([Math.min(from, ...starts), Math.max(to, ...ends)])].sort(
			(a, b) => a[0] - b[0],
		);
	}

	/** The known part that contains a place, or the next one. @param {number} place @returns {[number, number]} */
	rangeOf(place) {
		const row = Math.ceil(place);
		return this.ranges.find(([, end]) => end >= row) ?? [row, row];
	}

	/** Whether something may be missing between an entry and the next. @param {number} index */
	gapAfter(index) {
		const [one, next] = [this.entries[index], this.entries[index + 1]];
		return one !== undefined && next !== undefined && this.rangeOf(one.place) !== this.rangeOf(next.place);
	}

	/** @param {any} one */
	#past(one) {
		if (one.role === "user") {
			this.insert(userEntry(one.message_id, one, one.status));
			return;
		}
		const answer = this.byTurn.get(one.turn_id);
		if (!answer) this.insert(pastAnswer(one));
		else if (answer.status !== "running" && one.status !== "running") this.setHtml(one.turn_id, one.html);
	}
}
