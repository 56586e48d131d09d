// The browser's database: messages that wait, and what was read, for when there is no server.

/** Sessions whose last messages are kept. */
const SESSIONS_KEPT = 40;

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
	return new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
}

export class Store {
	/** @param {IDBDatabase} base */
	constructor(base) {
		this.base = base;
		/** Rises when all is forgotten: what was on its way into the database then does not come back. */
		this.age = 0;
	}

	static async open() {
		const request = indexedDB.open("builderos", 1);
		request.onupgradeneeded = () => {
			request.result.createObjectStore("kept");
			request.result.createObjectStore("outbox", { keyPath: "n", autoIncrement: true });
		};
		return new Store(await done(request));
	}

	/** @param {string} name @param {IDBTransactionMode} [mode] */
	#at(name, mode = "readwrite") {
		return this.base.transaction(name, mode).objectStore(name);
	}

	/** @param {string} name @returns {Promise<any>} */
	get(name) {
		return done(this.#at("kept", "readonly").get(name));
	}

	/** @param {string} name @param {any} value */
	put(name, value) {
		return done(this.#at("kept").put(value, name));
	}

	/** Keep a session's last messages, and forget those of the session that was opened longest ago. @param {string} id @param {any} value */
	async putSession(id, value) {
		const { age } = this;
		const known = (await this.get("recent")) ?? [];
		if (age !== this.age) return;
		const recent = [id, ...known.filter((/** @type {string} */ one) => one !== id)];
		const kept = this.#at("kept");
		kept.put(value, `s:${id}`);
		kept.put(recent.slice(0, SESSIONS_KEPT), "recent");
		for (const old of recent.slice(SESSIONS_KEPT)) kept.delete(`s:${old}`);
	}

	/** @param {string} name */
	drop(name) {
		return done(this.#at("kept").delete(name));
	}

	/** All waiting messages, in the order in which they were written. @returns {Promise<OutMessage[]>} */
	waiting() {
		return done(this.#at("outbox", "readonly").getAll());
	}

	/** Add a message, or put a changed one back where it is still there. @param {OutMessage} message */
	async putWaiting(message) {
		const outbox = this.#at("outbox");
		if (message.n === undefined) message.n = Number(await done(outbox.add(message)));
		else if (await done(outbox.getKey(message.n))) await done(outbox.put(message));
	}

	/** @param {number} n */
	dropWaiting(n) {
		return done(this.#at("outbox").delete(n));
	}

	/** Forget what was read ("kept"), or what was not sent ("outbox"). @param {"kept" | "outbox"} what */
	clear(what) {
		this.age += 1;
		return done(this.#at(what).clear());
	}
}
