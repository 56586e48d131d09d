// A session as one device knows it: frames in, what there is to see out. Pure: no page, no socket, no clock.
//
// A frame with `seq` is an event. The place of an entry is a row of the journal: a message's `user_message`, an answer's
// `turn_started`, a line's own. So the places of all entries differ, whether they came live or in a page of the past.

import { answerEntry, finishTool, pastAnswer, startTool, userEntry } from "./entries.js";
import { endingText, noticeText, takePiece } from "./pieces.js";

/** Entries that are kept for a time without a server. */
const KEPT = 100;

const ENDS = new Set(["complete", "error", "interrupted"]);

export class Journal {
	/** @param {string} id */
	constructor(id) {
		this.id = id;
		this.agent = "";
		this.title = "";
		this.failed = false;
		this.epoch = 0;
		/** The last event that this knows. */
		this.seq = 0;
		/** The last event that there is, as far as the server told. */
		this.head = 0;
		/** @type {Entry[]} by `seq` */
		this.entries = [];
		/** Whether the entries before the first are known to be none. */
		this.complete = false;
		/** @type {string | null} the running turn */
		this.turn = null;
		/** @type {Map<string, Asked>} */
		this.pending = new Map();
		/** @type {Map<string, Task>} */
		this.tasks = new Map();
		/** @type {Device[]} */
		this.devices = [];
		/** @type {Map<string, string>} names of devices, also of those that have left */
		this.names = new Map();
		/** @type {Record<string, any>} */
		this.settings = {};
		/** @type {{grant: string, by_device: string}[]} */
		this.grants = [];
		this.readSeq = 0;
		/** @type {Map<string, UserEntry>} */
		this.byMessage = new Map();
		/** @type {Map<string, AnswerEntry>} */
		this.byTurn = new Map();
		/** @type {Set<string>} keys of entries that changed since somebody emptied this */
		this.dirty = new Set();
		/** Rises with every entry that comes or goes. */
		this.shape = 0;
	}

	get state() {
		if (this.failed) return "failed";
		if (this.turn === null) return "idle";
		return this.pending.size ? "waiting" : "running";
	}

	/** How many events this is behind. */
	get behind() {
		return Math.max(0, this.head - this.seq);
	}

	/** @returns {Position | null} */
	get position() {
		return this.epoch ? { epoch: this.epoch, seq: this.seq } : null;
	}

	/** Take the answer to an `attach`. @param {Frame} frame */
	attached(frame) {
		if (frame.replay !== "ok" || frame.epoch !== this.epoch) this.#startOver(frame);
		this.agent = frame.agent_type;
		this.title = frame.title;
		this.failed = frame.state === "failed";
		this.settings = frame.settings ?? {};
		this.grants = frame.grants ?? [];
		this.head = frame.head_seq;
		this.readSeq = frame.read_seq;
		this.present(frame.devices);
	}

	/** Drop what there was; a finished answer of the same epoch keeps how it was rendered. @param {Frame} frame */
	#startOver(frame) {
		const sameEpoch = frame.epoch === this.epoch;
		this.rendered = new Map(
			sameEpoch ? this.entries.flatMap((one) => (one.kind === "answer" && one.html ? [[one.turn, one.html]] : [])) : [],
		);
		this.entries = [];
		this.byMessage.clear();
		this.byTurn.clear();
		this.pending.clear();
		this.tasks.clear();
		this.turn = null;
		this.complete = frame.from_seq <= 1;
		this.epoch = frame.epoch;
		this.seq = frame.from_seq - 1;
		this.shape += 1;
	}

	/** @type {Map<string, string>} */
	rendered = new Map();

	/** @param {Device[]} devices */
	present(devices) {
		this.devices = devices;
		const strangers = devices.filter((one) => this.names.get(one.device_id) !== one.name);
		for (const one of strangers) this.names.set(one.device_id, one.name);
		if (strangers.length) for (const one of this.entries) this.dirty.add(one.key);
	}

	/** What to call a device: its name, or its id where several here share the name. @param {string | null} id */
	nameOf(id) {
		if (!id) return "somebody";
		const name = this.names.get(id);
		if (!name) return id;
		const twins = [...this.names].filter(([other, called]) => called === name && other !== id);
		return twins.length ? id : name;
	}

	/**
	 * Take an event.
	 * @param {Frame} frame
	 * @returns {boolean} false where events are missing before it: attach again without a position
	 */
	event(frame) {
		if (frame.epoch !== this.epoch || frame.seq <= this.seq) return true;
		if ((frame.first_seq ?? frame.seq) > this.seq + 1) return false;
		this.seq = frame.seq;
		this.head = Math.max(this.head, frame.seq);
		this.#take(frame);
		return true;
	}

	/** @param {Frame} frame */
	#take(frame) {
		switch (frame.type) {
			case "user_message":
				this.#insert(userEntry(frame.message_id, frame, "sent"));
				break;
			case "delivery":
				this.#delivery(frame);
				break;
			case "turn_started":
				this.turn = frame.turn_id;
				this.tasks.clear();
				this.#insert(answerEntry(frame));
				break;
			case "permission_requested":
				this.pending.set(frame.request_id, {
					id: frame.request_id,
					tool: frame.tool,
					input: frame.input,
					options: frame.options ?? [],
					questions: Array.isArray(frame.questions) && frame.questions.length ? frame.questions : null,
				});
				break;
			case "permission_resolved":
				this.#resolved(frame);
				break;
			case "task_started":
			case "task_progress":
			case "task_finished":
				this.#task(frame);
				break;
			case "notice":
				this.#line(frame, "notice", noticeText(frame));
				break;
			case "session_updated":
				if (typeof frame.title === "string") this.title = frame.title;
				if (typeof frame.failed === "boolean") this.failed = frame.failed;
				break;
			default:
				this.#ofTurn(frame);
		}
	}

	/** @param {Frame} frame */
	#ofTurn(frame) {
		if (ENDS.has(frame.type) && frame.turn_id === this.turn) {
			this.turn = null;
			this.pending.clear();
		}
		const answer = this.byTurn.get(frame.turn_id);
		if (!answer) return; // the tail of a turn whose beginning lies before what was asked for
		this.dirty.add(answer.key);
		if (frame.type === "message") takePiece(answer.blocks, frame);
		else if (frame.type === "thinking") takePiece(answer.thinking, frame);
		else if (frame.type === "tool_started") startTool(answer, frame);
		else if (frame.type === "tool_finished") finishTool(answer, frame);
		else if (ENDS.has(frame.type)) {
			answer.status = /** @type {AnswerEntry["status"]} */ (frame.type);
			answer.ending = endingText(frame, this.nameOf(frame.by_device));
		}
	}

	/** @param {Frame} frame */
	#delivery(frame) {
		const entry = this.byMessage.get(frame.message_id);
		if (!entry) return;
		entry.state = frame.state;
		this.dirty.add(entry.key);
	}

	/** @param {Frame} frame */
	#resolved(frame) {
		this.pending.delete(frame.request_id);
		const words = { deny: "Denied", cancelled: "Cancelled" };
		const word = words[/** @type {"deny"} */ (frame.decision)] ?? "Allowed";
		const by = frame.by_device ? ` by ${this.nameOf(frame.by_device)}` : "";
		const lasting = frame.decision === "allow_session" ? " for this session" : "";
		this.#line(frame, frame.decision, `${word}${by}${lasting}${frame.note ? `: ${frame.note}` : ""}`);
	}

	/** @param {Frame} frame */
	#task(frame) {
		const known = this.tasks.get(frame.task_id);
		this.tasks.set(frame.task_id, {
			id: frame.task_id,
			parent: frame.parent_task_id ?? known?.parent ?? null,
			agent: frame.agent_type ?? known?.agent ?? "",
			title: frame.title ?? known?.title ?? "",
			state: frame.state ?? known?.state ?? "running",
			progress: frame.type === "task_progress" ? frame.content : (known?.progress ?? ""),
			result: frame.result ?? null,
		});
	}

	/** @param {Frame} frame @param {string} tone @param {string} text */
	#line(frame, tone, text) {
		this.#insert({
			kind: "line",
			key: `l:${frame.seq}`,
			seq: frame.seq,
			turn: frame.turn_id,
			tone,
			text,
			at: frame.timestamp,
		});
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
	#insert(entry) {
		const index = this.indexOf(entry.seq);
		if (this.entries[index]?.seq === entry.seq) return;
		this.entries.splice(index, 0, entry);
		if (entry.kind === "user") this.byMessage.set(entry.messageId, entry);
		if (entry.kind === "answer") {
			this.byTurn.set(entry.turn, entry);
			entry.html ??= this.rendered.get(entry.turn) ?? null;
		}
		this.dirty.add(entry.key);
		this.shape += 1;
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
		this.shape += 1;
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
			if (!this.byMessage.has(one.message_id)) this.#insert(userEntry(one.message_id, one, one.status));
			return;
		}
		const answer = this.byTurn.get(one.turn_id);
		if (!answer) this.#insert(pastAnswer(one));
		else if (answer.status !== "running" && one.status !== "running") this.setHtml(one.turn_id, one.html);
	}

	/** What to keep for a time without a server. */
	toKept() {
		const { id, agent, title, epoch, readSeq } = this;
		return { id, agent, title, epoch, readSeq, names: [...this.names], entries: this.entries.slice(-KEPT) };
	}

	/** @param {any} kept */
	static fromKept(kept) {
		const journal = new Journal(kept.id);
		Object.assign(journal, { agent: kept.agent, title: kept.title, epoch: kept.epoch, readSeq: kept.readSeq });
		journal.names = new Map(kept.names);
		for (const entry of kept.entries) journal.#insert(entry);
		return journal;
	}
}
