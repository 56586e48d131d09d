// A session as one device knows it: frames in, what to show out. Pure: no page, no socket, no clock.

import { answerEntry, asked, askedTool, dropBlock, finishTool, startTool, userEntry } from "./entries.js";
import { noticeText, takePiece } from "./pieces.js";
import { Timeline } from "./timeline.js";
import { takeWork } from "./work.js";

/** Entries that are stored for times without a server. */
const KEPT = 100;

const ENDS = new Set(["complete", "error", "interrupted"]);
/** The events that show that an agent continues after a retry. */
const PROGRESS = new Set(["message", "thinking", "tool_started"]);

export class Journal extends Timeline {
	/** @param {string} id */
	constructor(id) {
		super();
		this.id = id;
		this.agent = "";
		this.title = "";
		this.failed = false;
		this.epoch = 0;
		/** The last event known here. */
		this.seq = 0;
		/** The last event that exists, as far as the server has reported. */
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
		/** @type {Grant[]} */
		this.grants = [];
		/** @type {PlanEntry[]} the agent's to-do list */
		this.plan = [];
		/** @type {{code: string, until?: string} | null} why the queue waits */
		this.held = null;
		/** @type {Offer | null} what the agent offers, as far as it reported */
		this.offer = null;
		/** @type {Gauge | null} */
		this.gauge = null;
		/** @type {Map<string, string>} what the running tools have printed, by tool id */
		this.printed = new Map();
		this.readSeq = 0;
		/** @type {Map<string, {turn: string | null, back: boolean}>} undos: of which turn, and whether they put its changes back */
		this.undos = new Map();
	}

	get state() {
		if (this.failed) return "failed";
		if (this.turn === null) return "idle";
		return this.pending.size ? "waiting" : "running";
	}

	/** How many events are missing here. */
	get behind() {
		return Math.max(0, this.head - this.seq);
	}

	/** @returns {Position | null} */
	get position() {
		return this.epoch ? { epoch: this.epoch, seq: this.seq } : null;
	}

	/** The running turn's answer. */
	get running() {
		return this.turn === null ? undefined : this.byTurn.get(this.turn);
	}

	/** Take the answer to an `attach`. @param {Frame} frame */
	attached(frame) {
		if (frame.replay !== "ok" || frame.epoch !== this.epoch) this.#startOver(frame);
		this.agent = frame.agent_type;
		this.title = frame.title;
		this.failed = frame.state === "failed";
		this.settings = frame.settings ?? {};
		this.grants = frame.grants ?? [];
		this.plan = Array.isArray(frame.plan) ? frame.plan : [];
		this.held = frame.held ?? null;
		/** @type {{branch: string, base: string, ahead: number | null, dirty: boolean | null} | null} */
		this.worktree = frame.worktree ?? null;
		for (const one of Array.isArray(frame.background) ? frame.background : []) {
			if (!this.tasks.has(one.task_id)) this.#task({ ...one, type: "task_started", background: true });
		}
		this.head = frame.head_seq;
		this.printed.clear();
		this.readSeq = frame.read_seq;
		this.present(frame.devices);
	}

	/** Drop the present state. A finished answer of the same epoch keeps its rendered form. @param {Frame} frame */
	#startOver(frame) {
		const sameEpoch = frame.epoch === this.epoch;
		this.rendered = new Map(
			sameEpoch ? this.entries.flatMap((one) => (one.kind === "answer" && one.html ? [[one.turn, one.html]] : [])) : [],
		);
		this.clear(frame.from_seq);
		this.pending.clear();
		this.tasks.clear();
		this.undos.clear();
		this.turn = null;
		this.epoch = frame.epoch;
		this.seq = frame.from_seq - 1;
	}

	/** Take the output of the running tools. It replaces the earlier one. @param {Frame} frame */
	print(frame) {
		const told = Array.isArray(frame.outputs) ? frame.outputs : [];
		this.printed = new Map(told.map(({ tool_id: id, offset, output }) => [id, `${offset ? "…" : ""}${output}`]));
		for (const tool of this.byTurn.get(frame.turn_id)?.tools ?? []) tool.printed = this.printed.get(tool.id);
		this.#touch(frame.turn_id);
	}

	/** @param {Device[]} devices */
	present(devices) {
		this.devices = devices;
		const strangers = devices.filter((one) => this.names.get(one.device_id) !== one.name);
		for (const one of strangers) this.names.set(one.device_id, one.name);
		if (strangers.length) for (const one of this.entries) this.dirty.add(one.key);
	}

	/** The name of a device, or its id if several here share the name. @param {string | null} id */
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
	 * @returns {boolean} false if events are missing before it: attach again without a position
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
				for (const [id, task] of this.tasks) if (!task.background || task.state !== "running") this.tasks.delete(id);
				this.insert(answerEntry(frame));
				break;
			case "permission_requested":
				this.#requested(frame);
				break;
			case "permission_resolved":
				this.#resolved(frame);
				break;
			case "task_started":
			case "task_progress":
			case "task_finished":
				this.#task(frame);
				break;
			case "plan_updated":
				this.plan = frame.entries ?? [];
				break;
			case "notice":
				this.#notice(frame);
				break;
			case "checkpoint":
			case "undo_started":
			case "undone":
				takeWork(this, frame);
				break;
			case "session_updated":
				this.#updated(frame);
				break;
			default:
				this.#ofTurn(frame);
		}
	}

	/** @param {Frame} frame */
	#updated(frame) {
		if (typeof frame.title === "string") this.title = frame.title;
		if (typeof frame.failed === "boolean") this.failed = frame.failed;
		if (frame.settings) this.settings = frame.settings;
		if (Array.isArray(frame.grants)) this.grants = frame.grants;
		if (frame.held !== undefined) this.held = frame.held;
	}

	/** @param {Frame} frame */
	#ofTurn(frame) {
		const ends = ENDS.has(frame.type);
		if (ends && frame.turn_id === this.turn) {
			this.turn = null;
			this.pending.clear();
		}
		const answer = this.byTurn.get(frame.turn_id);
		if (!answer) return; // the end of a turn whose beginning is before the requested part
		this.dirty.add(answer.key);
		if (ends || PROGRESS.has(frame.type)) answer.passing = "";
		if (frame.type === "message" || frame.type === "thinking") takePiece(answer, frame);
		else if (frame.type === "tool_started") startTool(answer, frame, this.printed.get(frame.tool_id));
		else if (frame.type === "tool_finished") finishTool(answer, frame);
		else if (frame.type === "block_dropped") dropBlock(answer, frame.block);
		else if (ends) {
			const { content, code = "", by_device: by = null, timestamp: at, usage, resets_at: resetsAt, ways } = frame;
			answer.status = /** @type {AnswerEntry["status"]} */ (frame.type);
			answer.end = { content, code, by, at, usage: usage ?? {}, resetsAt: resetsAt ?? "", ways: ways ?? [] };
		}
	}

	/** @param {Frame} frame */
	#delivery(frame) {
		const entry = this.byMessage.get(frame.message_id);
		if (!entry) return;
		entry.state = frame.state;
		this.replace(entry);
		this.dirty.add(entry.key);
	}

	/** @param {Frame} frame */
	#requested(frame) {
		const { turn_id: turn } = frame;
		const call = askedTool(this.byTurn.get(turn), frame);
		if (call) call.asked = true;
		this.pending.set(frame.request_id, { ...asked(frame), call });
		this.#touch(turn);
	}

	/** @param {Frame} frame */
	#resolved(frame) {
		const { request_id: id, decision, by_device: by, note, seq, turn_id: turn, timestamp: at, answers } = frame;
		const request = this.pending.get(id);
		this.pending.delete(id);
		if (decision === "allow_session" && request?.grant) this.#granted({ grant: request.grant, by_device: by, at });
		const said = Object.entries(answers ?? {}).map(([question, answer]) => `${question} ${answer}`);
		const text = request?.call
			? said.join("\n")
			: [request?.title || request?.tool || "", ...said].filter(Boolean).join("\n");
		/** @type {Line} */
		const line = {
			kind: "line",
			key: `l:${seq}`,
			seq,
			place: seq,
			turn,
			at,
			tone: decision,
			decision,
			by: by ?? "",
			note: note ?? "",
			grant: request?.grant ?? "",
			text,
		};
		if (request?.call) {
			request.call.line = line;
			this.#touch(turn);
		} else this.#line(line);
	}

	/** @param {Grant} given */
	#granted(given) {
		if (!this.grants.some((one) => one.grant === given.grant)) this.grants = [...this.grants, given];
	}

	/** @param {string | null} turn */
	#touch(turn) {
		const answer = turn === null ? undefined : this.byTurn.get(turn);
		if (answer) this.dirty.add(answer.key);
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
			background: frame.background ?? known?.background ?? false,
		});
	}

	/** A retry of the agent is shown while it lasts. @param {Frame} frame */
	#notice(frame) {
		const { seq, turn_id: turn, timestamp: at } = frame;
		const answer = turn === null ? undefined : this.byTurn.get(turn);
		if (answer && (frame.attempt !== undefined || frame.retry_in_s !== undefined)) {
			answer.passing = noticeText(frame);
			this.dirty.add(answer.key);
			return;
		}
		const none = { decision: "", by: "", note: "", grant: "" };
		this.#line({
			kind: "line",
			key: `l:${seq}`,
			seq,
			place: seq,
			turn,
			at,
			tone: "notice",
			text: noticeText(frame),
			...none,
		});
	}

	/** A line belongs to its turn, in the order in which it came. Without a turn it is an entry. @param {Line} line */
	#line(line) {
		const answer = line.turn === null ? undefined : this.byTurn.get(line.turn);
		if (!answer) return this.insert(line);
		answer.parts.push(line);
		this.dirty.add(answer.key);
	}

	/** What to store for times without a server. */
	toKept() {
		const { id, agent, title, epoch, readSeq, settings } = this;
		const entries = this.entries.slice(-KEPT);
		const from = entries.length < this.entries.length ? Math.ceil(entries[0]?.place ?? 0) : 0;
		const ranges = this.ranges.filter(([, to]) => to >= from).map(([start, to]) => [Math.max(start, from), to]);
		return { id, agent, title, epoch, readSeq, settings, names: [...this.names], entries, ranges };
	}

	/** @param {any} kept */
	static fromKept(kept) {
		const journal = new Journal(kept.id);
		Object.assign(journal, {
			agent: kept.agent,
			title: kept.title,
			epoch: kept.epoch,
			readSeq: kept.readSeq,
			settings: kept.settings ?? {},
		});
		journal.names = new Map(kept.names);
		journal.ranges = kept.ranges;
		for (const entry of kept.entries) journal.insert(entry);
		return journal;
	}
}
