// The open session: it attaches, feeds the journal, fetches older or rendered entries, and does what the person wants.

import { Draft } from "./draft.js";
import { randomHex, remember } from "./identity.js";
import { Journal } from "./journal.js";

/** Turns that come with an `attach`. */
const HISTORY = 50;
/** Entries of one page of the past. */
const PAGE = 50;
const KEEP_AFTER_MS = 300;
const DRAFT_AFTER_MS = 400;
const READ_AFTER_MS = 200;
/** How often, at most, the server starts a session's agent before a message. */
const WARM_AGAIN_MS = 60_000;
/** How long after a turn's end to wait for its rendered answer before requesting it. */
const RENDERED_LIMIT_MS = 2000;

export class OpenSession {
	/** @param {string} id @param {Client} client @param {Making} making */
	constructor(id, client, making) {
		this.id = id;
		this.client = client;
		this.making = making;
		this.journal = new Journal(id);
		/** Whether there is anything to show: the server's answer, or stored entries. */
		this.shown = false;
		/** Whether everything that existed at the attach has come, so that frames appear as they come. */
		this.caughtUp = false;
		this.goal = 0;
		/** Why this session cannot be shown; "" if it can. */
		this.failure = "";
		this.draft = new Draft(
			id,
			(content) => client.may("drive") && client.connection.send({ type: "draft", session_id: id, content }),
		);
		/** @type {((ok: boolean) => void)[]} */
		this.waiters = [];
		this.asking = false;
		this.readTold = 0;
		/** When the server next accepts a `warm`. */
		this.warmAgainAt = 0;
		/** @type {Record<string, ReturnType<typeof setTimeout> | undefined>} */
		this.timers = {};
		this.left = false;
		/** @type {Set<() => void>} other parts that show something of this session */
		this.watchers = new Set();
		/** @type {((frame: Frame) => boolean) | undefined} takes the next refusal; false passes it on */
		this.refused = undefined;
		/** Whether this page created the session, which then gets its name from its first message. */
		this.nameless = Boolean(making.agent);
	}

	/** Where it runs, if several machines share the list. */
	get machine() {
		return this.client.sessions.known.get(this.id)?.machine;
	}

	async start() {
		if (this.client.live) this.attach();
		const kept = await this.client.store.get(`s:${this.id}`).catch(() => undefined);
		if (!kept?.ranges || this.shown || this.left) return;
		this.journal = Journal.fromKept(kept);
		this.shown = true;
		this.client.views.session();
	}

	leave(keep = true) {
		this.left = true;
		for (const timer of Object.values(this.timers)) clearTimeout(timer);
		if (keep) {
			this.keep();
			this.draft.publish();
		}
		this.#settle(false);
	}

	/** Attach with the position, so that only missed events come. */
	attach() {
		this.failure = "";
		const after = this.caughtUp ? this.journal.position : null;
		const { agent, settings } = this.making;
		this.client.connection.send(
			this.client.attachFrame(this.id, { agent, settings, history: HISTORY, ...(after ? { after } : {}) }),
		);
	}

	/** @returns {Promise<boolean>} */
	whenAttached() {
		if (this.client.attached.has(this.id)) return Promise.resolve(true);
		return new Promise((resolve) => this.waiters.push(resolve));
	}

	/** @param {boolean} ok */
	#settle(ok) {
		for (const waiter of this.waiters.splice(0)) waiter(ok);
	}

	/** @param {Frame} frame */
	onAttached(frame) {
		this.making = {};
		this.failure = "";
		this.journal.attached(frame);
		this.shown = true;
		this.goal = frame.head_seq;
		this.readTold = frame.read_seq;
		this.draft.begin(frame.draft ?? "");
		this.#checkCaughtUp();
		this.#settle(true);
		this.client.views.session();
		this.client.views.status();
	}

	/** @param {Frame} frame */
	frame(frame) {
		if (frame.seq !== undefined) this.#event(frame);
		else if (frame.type === "rendered") this.journal.setHtml(frame.turn_id, frame.html);
		else if (frame.type === "presence") this.journal.present(frame.devices);
		else if (frame.type === "mark_read") this.journal.readSeq = Math.max(this.journal.readSeq, frame.read_seq);
		else if (frame.type === "draft") this.draft.take(frame.content);
		else if (frame.type === "agent") this.#offered(frame.agent);
		else if (frame.type === "gauge") this.journal.gauge = /** @type {Gauge} */ (/** @type {unknown} */ (frame));
		else if (frame.type === "tool_output") this.journal.print(frame);
		else return;
		for (const watcher of this.watchers) watcher();
		this.client.views.session();
	}

	/** @param {Frame} frame */
	#event(frame) {
		if (!this.journal.event(frame)) {
			this.caughtUp = false; // a piece is missing: start again
			this.attach();
			return;
		}
		this.#checkCaughtUp();
		if (frame.seq > this.goal) this.client.paint.came(frame);
		if (frame.type === "user_message") {
			this.#name(frame.content);
			this.draft.sent(frame.content);
		}
		if (frame.type === "complete" || frame.type === "interrupted" || frame.type === "error") {
			this.#later("rendered", RENDERED_LIMIT_MS, () => this.fetchRendered());
		}
		this.#once("keep", KEEP_AFTER_MS, () => this.keep());
		this.client.views.status();
	}

	/** Remember what the agent offers, for the next session with this agent. @param {Offer} offer */
	#offered(offer) {
		this.journal.offer = offer;
		remember(`offer.${this.journal.agent}`, JSON.stringify({ models: offer.models, modes: offer.modes }));
	}

	/** @param {string} message */
	#name(message) {
		const title = message.trim().split("\n")[0]?.slice(0, 60);
		if (this.nameless && title && !this.journal.title) this.act({ type: "rename", title });
		this.nameless = false;
	}

	#checkCaughtUp() {
		if (this.caughtUp || this.journal.seq < this.goal) return;
		this.caughtUp = true;
		this.fetchRendered();
		this.keep();
	}

	/** @param {Frame} frame */
	heartbeat(frame) {
		const told = frame.sessions?.[this.id];
		if (told && told.epoch === this.journal.epoch) this.journal.head = Math.max(told.head_seq, this.journal.seq);
		this.client.views.status();
	}

	/** An error that is not an event. @param {Frame} frame */
	trouble(frame) {
		if (frame.code === "unknown_session" || frame.code === "unknown_agent") {
			this.failure = frame.code;
			this.#settle(false);
			this.client.views.session();
		} else {
			this.client.views.say(frame.content);
		}
	}

	/** @param {string} name @param {number} ms @param {() => void} act */
	#later(name, ms, act) {
		clearTimeout(this.timers[name]);
		this.timers[name] = setTimeout(act, ms);
	}

	/** Do something soon, once, however often it is requested meanwhile. @param {string} name @param {number} ms @param {() => void} act */
	#once(name, ms, act) {
		this.timers[name] ??= setTimeout(() => {
			this.timers[name] = undefined;
			act();
		}, ms);
	}

	keep() {
		if (this.journal.entries.length) this.client.store.putSession(this.id, this.journal.toKept()).catch(() => {});
	}

	// ---- older or rendered entries ----

	/** Fetch the rendered form of finished answers that came as plain text. */
	async fetchRendered() {
		const plain = this.journal.entries.filter(
			(one) => one.kind === "answer" && one.status !== "running" && one.html === null,
		);
		const [first, last] = [plain[0], plain.at(-1)];
		if (!first || !last) return;
		const limit = Math.min(500, 2 * (this.journal.indexOf(last.place) - this.journal.indexOf(first.place)) + 1);
		const page = await this.#page({ before_seq: last.seq + 1, limit });
		if (!page) return;
		for (const one of page.messages) if (one.role === "assistant") this.journal.setHtml(one.turn_id, one.html);
		this.keep();
		this.client.views.session();
	}

	/** @param {Record<string, number>} query */
	async #page(query) {
		const { epoch } = this.journal;
		try {
			const page = await this.client.api.messages(this.id, query);
			return this.left || epoch !== this.journal.epoch ? null : page;
		} catch {
			return null; // offline, or deleted: the next scroll requests it again
		}
	}

	/** Fetch what is before or after a place. @param {{before?: number, after?: number}} where @returns {Promise<boolean>} whether anything came */
	load(where) {
		if (this.asking || !this.client.live) return Promise.resolve(false);
		this.asking = true;
		this.asked = this.#load(where);
		return this.asked;
	}

	/** @type {Promise<boolean>} the last requested page */
	asked = Promise.resolve(false);

	/** @param {{before?: number, after?: number}} where */
	async #load({ before, after }) {
		try {
			const page = await this.#page({
				limit: PAGE,
				...(before === undefined ? { after_seq: after ?? 0 } : { before_seq: before }),
			});
			if (!page) return false;
			const more = before === undefined ? page.next_after !== null : page.next_before !== null;
			this.journal.page(page.messages, { before, after, more });
			return true;
		} finally {
			this.asking = false;
			this.client.views.session();
		}
	}

	/** Fetch what is on both sides of a place. @param {number} seq */
	async near(seq) {
		await this.asked;
		await this.load({ before: seq + 1 });
		const [, to] = this.journal.rangeOf(seq);
		if (to !== Infinity) await this.load({ after: to });
	}

	// ---- what the person does ----

	/** Do something that needs the server now. @param {Record<string, any>} frame */
	act(frame) {
		if (this.client.connection.send({ session_id: this.id, ...frame })) return true;
		this.client.views.say("Not connected at the moment.");
		return false;
	}

	/**
	 * @param {string} content @param {OutFile[]} files @param {"queue" | "steer"} [mode]
	 * @param {{id?: string, later?: string}} [more] the message's own id; when to run it
	 */
	async send(content, files, mode = "queue", { id, later } = {}) {
		const { agent, settings } = this.making;
		await this.client.outbox.add({
			session_id: this.id,
			...(agent ? { agent, settings } : {}),
			message_id: id ?? randomHex(16),
			content,
			mode,
			...(later ? { not_before: later } : {}),
			files,
			at: new Date().toISOString(),
		});
	}

	interrupt() {
		const turn = this.journal.turn;
		this.act({ type: "interrupt", ...(turn ? { turn_id: turn } : {}) });
	}

	/** The person has seen everything up to here. */
	markRead() {
		const { seq } = this.journal;
		if (!this.caughtUp || seq <= this.readTold || !this.client.may("approve")) return;
		this.readTold = seq;
		this.#once("read", READ_AFTER_MS, () =>
			this.client.connection.send({ type: "mark_read", session_id: this.id, seq: this.readTold }),
		);
	}

	/** A person is about to write: the agent's program may start now. */
	warm() {
		const now = performance.now();
		if (
			this.#warmable &&
			now >= this.warmAgainAt &&
			this.client.connection.send({ type: "warm", session_id: this.id })
		) {
			this.warmAgainAt = now + WARM_AGAIN_MS;
		}
	}

	get #warmable() {
		return this.client.may("drive") && this.client.attached.has(this.id) && !this.journal.turn;
	}

	/** What the person is typing. Other devices see it too. @param {string} text */
	setDraft(text) {
		if (this.draft.write(text)) this.#later("draft", text ? DRAFT_AFTER_MS : 0, () => this.draft.publish());
	}

	/** Put a text into the box, so that the person can change it. @param {string} text */
	propose(text) {
		this.setDraft(text);
		this.client.views.session();
	}

	// ---- files that are chosen but not sent ----

	/** @returns {Promise<OutFile[]>} */
	async chosen() {
		return (await this.client.store.get(`f:${this.id}`)) ?? [];
	}

	/** @param {OutFile[]} files */
	choose(files) {
		return files.length ? this.client.store.put(`f:${this.id}`, files) : this.client.store.drop(`f:${this.id}`);
	}
}
