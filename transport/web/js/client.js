// One signed-in browser: its connection, its list, its outbox, and the open session. It passes each frame on to the part that
// needs it, and notifies the views of changes.

import { Api } from "./api.js";
import { Connection } from "./connection.js";
import { deviceId, recall, remember, renewDeviceId } from "./identity.js";
import { SCOPES } from "./names.js";
import { OpenSession } from "./session.js";
import { Outbox } from "./outbox.js";
import { Paint } from "./paint.js";
import { Sessions } from "./sessions.js";

/** The longest wait for an answer to an `attach` or a `send`, in milliseconds. */
const ANSWER_LIMIT_MS = 40_000;

/** How often the server is notified that the person is active, in milliseconds. */
const FOCUS_MS = 20_000;

export class Client {
	/** @param {string} key @param {Store} store @param {Views} views */
	constructor(key, store, views) {
		this.store = store;
		this.views = views;
		this.api = new Api(key);
		this.sessions = new Sessions(store, () => views.list());
		this.paint = new Paint();
		/** @type {OpenSession | null} */
		this.open = null;
		/** @type {Set<string>} what this connection is attached to */
		this.attached = new Set();
		/** @type {Map<string, (frame: Frame | null) => void>} what waits for an answer, by "kind id" */
		this.waiters = new Map();
		/** @type {import("./peeks.js").Peeks | null} created once a session waits for a person */
		this.peeks = null;
		this.usedAt = this.lookedAt = Date.now();
		this.scope = recall("scope") ?? "drive";
		/** Which key this is: the server's id of it. */
		this.deviceKey = "";
		this.version = "";
		/** Whether the server has ever accepted this key. */
		this.known = recall("scope") !== null;
		/** @type {string[]} */
		this.agents = JSON.parse(recall("agents") ?? "[]");
		const url = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/api/ws`;
		this.connection = new Connection(url, key, {
			frame: (frame) => this.#frame(frame),
			ready: (frame, askedMs) => this.#ready(frame, askedMs),
			more: () => this.paint.take(),
			change: () => this.#change(),
			refused: (code) => views.refused(code),
		});
		this.outbox = new Outbox(store, this.#way(), (id) => this.open?.id === id && views.session());
	}

	async start() {
		this.connection.start();
		await Promise.all([this.outbox.open(), this.sessions.recall()]);
		this.outbox.pump();
	}

	/** Close everything, and store nothing more. */
	stop() {
		this.open?.leave(false);
		this.open = null;
		this.sessions.stop();
		this.outbox.close();
		this.connection.stop();
	}

	get live() {
		return this.connection.live;
	}

	/** @param {"approve" | "drive" | "admin"} scope */
	may(scope) {
		const scopes = Object.keys(SCOPES);
		return scopes.indexOf(this.scope) >= scopes.indexOf(scope);
	}

	/** @param {Frame} ready @param {number} askedMs */
	#ready(ready, askedMs) {
		this.attached.clear();
		this.paint.begin(ready, askedMs);
		this.peeks?.reset();
		this.scope = ready.device.scope;
		this.known = true;
		this.deviceKey = ready.device.id;
		if (this.version) this.views.restarted(this.version !== ready.server_version);
		this.version = ready.server_version ?? "";
		this.agents = ready.agents ?? [];
		remember("scope", this.scope);
		remember("agents", JSON.stringify(this.agents));
		this.connection.send({ type: "watch_sessions" });
		this.look();
		this.#notified((push) => push.refresh(this));
		this.open?.attach();
		this.outbox.live = true;
		this.outbox.pump();
		this.sessions.load(this.api).catch(() => {}); // the connection is lost again, or the next change brings it
		this.views.list();
	}

	/** The person is active here. */
	used() {
		this.usedAt = Date.now();
		if (this.usedAt - this.lookedAt > FOCUS_MS) this.look();
	}

	/** Report what is in view, so that the server notifies no other device. That counts for a minute after the last activity. @param {boolean} [used] whether the person became active just now */
	look(used = false) {
		this.lookedAt = Date.now();
		if (used) this.usedAt = this.lookedAt;
		const visible = document.visibilityState === "visible";
		const idle = Math.round((this.lookedAt - this.usedAt) / 1000);
		this.connection.send({ type: "focus", session_id: this.open?.id ?? null, visible, idle_s: idle });
	}

	/** @param {(push: typeof import("./push.js")) => Promise<void>} act called if this browser is notified */
	#notified(act) {
		if (recall("notify")) import("./push.js").then(act).catch(() => {}); // the next connection brings it
	}

	#change() {
		if (!this.live) {
			this.outbox.live = false;
			for (const waiter of this.waiters.values()) waiter(null);
			this.waiters.clear();
		}
		this.views.status();
		this.views.session();
		this.views.list();
	}

	/** @param {Frame} frame */
	#frame(frame) {
		const id = frame.session_id;
		this.peeks?.frame(frame);
		if (frame.type === "session_changed") this.#sessionChanged(frame);
		else if (frame.type === "attached") this.#attached(frame);
		else if (frame.type === "detached") this.#detached(id);
		else if (frame.type === "alert")
			frame.state === "settled" && this.#notified((push) => push.settled(this, frame.alert_id));
		else if (frame.type === "accepted" || frame.type === "rejected") this.#answer(frame);
		else if (frame.type === "error" && frame.seq === undefined) this.#error(frame);
		else if (frame.type === "heartbeat") this.open?.heartbeat(frame);
		else if (this.open && id === this.open.id) this.open.frame(frame);
		if (frame.type === "user_message") this.outbox.arrived(frame.message_id);
	}

	/** @param {Frame} frame */
	#sessionChanged(frame) {
		this.sessions.update(frame);
		// Another tab or device has created it since, perhaps with a message of this page.
		const { open } = this;
		if (open && open.id === frame.session_id && open.failure === "unknown_session") open.attach();
	}

	/** @param {Frame} frame */
	#attached(frame) {
		this.attached.add(frame.session_id);
		this.sessions.attached(frame);
		if (this.open?.id === frame.session_id) this.open?.onAttached(frame);
		this.#settle(`attach ${frame.session_id}`, frame);
	}

	/** @param {string} id */
	#detached(id) {
		const wanted = this.attached.delete(id) && this.open?.id === id;
		if (wanted) this.open?.attach(); // restored to another state, or deleted
	}

	/** @param {Frame} frame */
	#answer(frame) {
		if (frame.message_id && this.#settle(`send ${frame.message_id}`, frame)) return;
		if (frame.type === "accepted") return;
		if (frame.code === "not_attached" && this.open?.id === frame.session_id) return;
		const ofAttach = !frame.message_id && !frame.request_id && !this.attached.has(frame.session_id);
		if (ofAttach && frame.code === "forbidden" && this.may("approve")) this.#otherLabel(frame);
		else if (ofAttach && this.#settle(`attach ${frame.session_id}`, null)) return;
		else if (frame.session_id !== this.open?.id || !this.open?.refused?.(frame)) this.views.say(frame.content);
	}

	/** This browser had another key before, and its device_id belongs to that key. @param {Frame} frame */
	#otherLabel(frame) {
		const again = !this.relabelled;
		this.relabelled = true;
		if (again) renewDeviceId();
		else this.views.say(frame.content);
		this.#settle(`attach ${frame.session_id}`, null);
		if (again && this.open?.id === frame.session_id) this.open?.attach();
	}

	relabelled = false;

	/** @param {Frame} frame */
	#error(frame) {
		if (frame.message_id && this.#settle(`send ${frame.message_id}`, frame)) return;
		if (this.open && frame.session_id === this.open.id) this.open.trouble(frame);
		if (frame.session_id) this.#settle(`attach ${frame.session_id}`, null);
		else this.views.say(frame.content);
	}

	/** @param {string} what @param {Frame | null} frame @returns {boolean} whether anything waited for it */
	#settle(what, frame) {
		const waiter = this.waiters.get(what);
		this.waiters.delete(what);
		waiter?.(frame);
		return waiter !== undefined;
	}

	/** @param {string} what @param {Record<string, any>} frame @returns {Promise<Frame | null>} */
	#ask(what, frame) {
		return new Promise((resolve) => {
			const timer = setTimeout(() => this.#settle(what, null), ANSWER_LIMIT_MS);
			this.waiters.set(what, (answer) => {
				clearTimeout(timer);
				resolve(answer);
			});
			if (!this.connection.send(frame)) this.#settle(what, null);
		});
	}

	/** The fields of an `attach` to a session. @param {string} id @param {Record<string, any>} more */
	attachFrame(id, more) {
		return { type: "attach", session_id: id, device_id: deviceId(), html: true, ...more };
	}

	/** How the outbox sends its messages. @returns {Way} */
	#way() {
		return {
			attach: async (id, message) => {
				if (this.attached.has(id)) return true;
				if (this.open?.id === id && !this.open.failure)
					return (await this.open.whenAttached()) && this.attached.has(id);
				const { agent, settings } = message;
				return (await this.#ask(`attach ${id}`, this.attachFrame(id, { history: 0, agent, settings }))) !== null;
			},
			send: (frame) => this.#ask(`send ${frame.message_id}`, frame),
			upload: async (blob, name, progress) => (await import("./upload.js")).upload(this.api.key, blob, name, progress),
			delivered: (id) => {
				if (this.open?.id !== id && this.attached.has(id)) this.connection.send({ type: "detach", session_id: id });
			},
		};
	}

	/**
	 * Open a session, and close the previous one.
	 * @param {string} id @param {Making} [making]
	 */
	openSession(id, making = {}) {
		if (this.open?.id === id) return this.open;
		this.closeSession();
		this.open = new OpenSession(id, this, making);
		this.open.start();
		this.look();
		return this.open;
	}

	closeSession() {
		const open = this.open;
		if (!open) return;
		this.open = null;
		this.paint.forget();
		open.leave();
		this.look();
		if (this.attached.delete(open.id)) this.connection.send({ type: "detach", session_id: open.id });
	}
}
