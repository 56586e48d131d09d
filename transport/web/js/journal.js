// A session as one device knows it: frames in, what there is to see out. Pure: no page, no socket, no clock.

import { answerEntry, finishTool, startTool, userEntry } from "./entries.js";
import { endingText, noticeText, takePiece } from "./pieces.js";
import { Timeline } from "./timeline.js";

/** Entries that are kept for a time without a server. */
const KEPT = 100;

const ENDS = new Set(["complete", "error", "interrupted"]);

export class Journal extends Timeline {
	/** @param {string} id */
	constructor(id) {
		super();
		this.id = id;
		this.agent = "";
		this.title = "";
		this.failed = false;
		this.epoch = 0;
		/** The last event that this knows. */
		this.seq = 0;
		/** The last event that there is, as far as the server told. */
		this.head = 0;
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
		this.clear(frame.from_seq <= 1);
		this.pending.clear();
		this.tasks.clear();
		this.turn = null;
		this.epoch = frame.epoch;
		this.seq = frame.from_seq - 1;
	}

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
				this.insert(userEntry(frame.message_id, frame, "sent"));
				break;
			case "delivery":
				this.#delivery(frame);
				break;
			case "turn_started":
				this.turn = frame.turn_id;
				this.tasks.clear();
				this.insert(answerEntry(frame));
				break;
			case "permission_requested":
				this.pending.set(frame.request_id, {
					id: frame.request_id,
					tool: frame.tool,
					kind: frame.kind ?? "other",
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
		const lasting = frame.decision === "allow_session" ? ["for this session"] : [];
		this.#line(frame, frame.decision, [`${word}${by}`, ...lasting, ...(frame.note ? [frame.note] : [])].join("\n"));
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
		this.insert({
			kind: "line",
			key: `l:${frame.seq}`,
			seq: frame.seq,
			turn: frame.turn_id,
			tone,
			text,
			at: frame.timestamp,
		});
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
		for (const entry of kept.entries) journal.insert(entry);
		return journal;
	}
}
