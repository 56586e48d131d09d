// Messages to be sent. A message is stored in the browser's database before anything else happens, and leaves it when the
// server has it. That holds over a reload, without a network, and with several tabs.
//
// Each tab sends one message after another, oldest first, and continues only when the server has accepted it. A message keeps
// its id, and the server runs an id once. So two tabs cannot change the order or send anything twice, and no tab waits for one
// that the phone has suspended.

/** Temporary refusals: the message keeps waiting. */
const PASSING = new Set(["storage", "shutting_down", "queue_full", "not_attached", "session_failed", "machine_away"]);
const AGAIN_MS = 3000;

export class Outbox {
	/** @param {Store} store @param {Way} way @param {(id: string) => void} changed */
	constructor(store, way, changed) {
		this.store = store;
		this.way = way;
		this.changed = changed;
		/** @type {OutMessage[]} as last read */
		this.messages = [];
		/** @type {Set<string>} sessions that are being delivered to */
		this.busy = new Set();
		/** @type {Map<string, string>} what to show about a message that is being sent */
		this.going = new Map();
		this.live = false;
		this.others = new BroadcastChannel("builderos.outbox");
		this.others.onmessage = ({ data }) => {
			if (data.gone) this.gone.add(data.gone);
			this.#reread().then(() => this.pump());
		};
		/** @type {Set<string>} messages that are delivered or taken back, in any tab */
		this.gone = new Set();
	}

	/** @param {string} id */
	of(id) {
		return this.messages.filter((one) => one.session_id === id);
	}

	async open() {
		await this.#reread();
	}

	close() {
		this.live = false;
		this.others.close();
	}

	/** @param {Omit<OutMessage, "n" | "state">} message */
	async add(message) {
		/** @type {OutMessage} */
		const waiting = { ...message, state: "waiting" };
		await this.store.putWaiting(waiting);
		this.messages = [...this.messages, waiting];
		await this.#told();
		this.pump();
	}

	/** Take back a message that is still here. @param {OutMessage} message */
	async remove(message) {
		this.gone.add(message.message_id);
		if (message.n !== undefined) await this.store.dropWaiting(message.n);
		await this.#told(message.message_id);
	}

	/** Try a refused message again. @param {OutMessage} message */
	async retry(message) {
		Object.assign(message, { state: "waiting", reason: undefined });
		await this.store.putWaiting(message);
		await this.#told();
		this.pump();
	}

	/** The journal has this message, so it is delivered, whichever tab sent it. @param {string} messageId */
	arrived(messageId) {
		const message = this.messages.find((one) => one.message_id === messageId);
		if (message) this.remove(message);
	}

	/** @param {string} [gone] */
	async #told(gone) {
		this.others.postMessage({ gone });
		await this.#reread();
	}

	/** Read the waiting messages. Restore what the database has lost: an id runs once, so a message sent twice does no harm. */
	async #reread() {
		const before = new Set(this.messages.map((one) => one.session_id));
		const kept = await this.store.waiting();
		const ids = new Set(kept.map((one) => one.message_id));
		const lost = this.messages.filter((one) => !ids.has(one.message_id) && !this.gone.has(one.message_id));
		for (const one of lost) if (this.store.lasts) await this.store.restoreWaiting(one);
		this.messages = [...kept, ...lost]
			.filter((one) => !this.gone.has(one.message_id))
			.sort((a, b) => (a.n ?? 0) - (b.n ?? 0));
		for (const one of this.messages) before.add(one.session_id);
		for (const id of before) this.changed(id);
	}

	/** Delete everything, here and in the database. */
	async clear() {
		for (const one of this.messages) this.gone.add(one.message_id);
		this.messages = [];
		await this.store.clear("outbox");
	}

	/** Send what waits, each session separately. */
	pump() {
		if (!this.live) return;
		for (const id of new Set(this.messages.map((one) => one.session_id))) {
			if (!this.busy.has(id)) this.#deliver(id);
		}
	}

	/** @param {string} id */
	async #deliver(id) {
		this.busy.add(id);
		let again = false;
		try {
			for (;;) {
				const message = this.of(id).find((one) => one.state === "waiting");
				if (!message || !this.live) break;
				if (!(await this.#one(message))) {
					again = true;
					break;
				}
			}
		} finally {
			this.busy.delete(id);
		}
		if (again) setTimeout(() => this.pump(), AGAIN_MS);
		else if (!this.of(id).some((one) => one.state === "waiting")) this.way.delivered(id);
		else this.pump();
	}

	/** @param {OutMessage} message @returns {Promise<boolean>} whether to continue with the next */
	async #one(message) {
		const { session_id, message_id, content, mode, not_before } = message;
		if (!(await this.way.attach(session_id, message)) || !(await this.#upload(message))) return false;
		if (message.state === "failed") return true;
		const attachments = message.files.map((file) => ({ url: file.url }));
		const answer = await this.way.send({
			type: "send",
			session_id,
			message_id,
			content,
			attachments,
			mode,
			...(not_before ? { not_before } : {}),
		});
		this.going.delete(message_id);
		if (!answer) return false;
		if (answer.type === "accepted") {
			await this.remove(message);
			return true;
		}
		if (answer.code === "cannot_steer" && mode === "steer") {
			message.mode = "queue"; // it left no trace, so its id may be sent again
		} else if (PASSING.has(answer.code)) {
			return false;
		} else {
			Object.assign(message, { state: "failed", reason: answer.content });
		}
		await this.store.putWaiting(message);
		await this.#told();
		return true;
	}

	/** Upload the message's files that are still here. @param {OutMessage} message @returns {Promise<boolean>} */
	async #upload(message) {
		for (const file of message.files) {
			if (file.url || !file.bytes) continue;
			try {
				const told = await this.way.upload(new Blob([file.bytes], { type: file.type }), file.name, (part) => {
					this.going.set(message.message_id, `uploading ${file.name}: ${Math.round(part * 100)} %`);
					this.changed(message.session_id);
				});
				file.url = told.url;
				delete file.bytes;
				await this.store.putWaiting(message);
			} catch (error) {
				const { status, message: reason } = /** @type {import("./api.js").ApiError} */ (error);
				this.going.delete(message.message_id);
				if (!status || status === 429 || status >= 500) return false;
				Object.assign(message, { state: "failed", reason });
				await this.store.putWaiting(message);
				await this.#told();
				return true;
			}
		}
		return true;
	}
}
