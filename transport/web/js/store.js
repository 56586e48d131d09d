// The browser's database: messages that wait, and what was read, for when there is no server.
//
// A browser may refuse to keep anything, fail later, or never answer. Then this page's memory takes the database's place, and
// `lost` hears of it: a person can still read and send, and is told what is not kept.

/** Sessions whose last messages are kept. */
const SESSIONS_KEPT = 40;
/** The longest wait for the database, in milliseconds. */
const LIMIT_MS = 4000;
/** Where the numbers of messages begin that only memory has: after those of any database. */
const FIRST_IN_MEMORY = 2 ** 50;

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
	return new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
}

/** @template T @param {Promise<T>} work @returns {Promise<T>} */
function inTime(work) {
	return new Promise((resolve, reject) => {
		const timer = setTimeout(() => reject(new Error("the browser's database does not answer")), LIMIT_MS);
		work.then(resolve, reject).finally(() => clearTimeout(timer));
	});
}

export class Store {
	/** @param {IDBDatabase | null} base */
	constructor(base) {
		this.base = base;
		/** Rises when all is forgotten: what was on its way into the database then does not come back. */
		this.age = 0;
		/** @type {Map<string, any>} */
		this.kept = new Map();
		/** @type {Map<number, OutMessage>} */
		this.outbox = new Map();
		this.next = FIRST_IN_MEMORY;
		/** @type {() => void} the database is no longer used */
		this.lost = () => {};
	}

	/** Open the database; without one the page's memory must do. */
	static async open() {
		try {
			const request = indexedDB.open("builderos", 1);
			request.onupgradeneeded = () => {
				request.result.createObjectStore("kept");
				request.result.createObjectStore("outbox", { keyPath: "n", autoIncrement: true });
			};
			return new Store(await inTime(done(request)));
		} catch {
			return new Store(null);
		}
	}

	/** Whether what is put here outlives the page. */
	get lasts() {
		return this.base !== null;
	}

	/**
	 * @template T
	 * @param {(at: (name: string, mode?: IDBTransactionMode) => IDBObjectStore) => Promise<T>} act
	 * @param {() => T} instead with this page's memory
	 * @returns {Promise<T>}
	 */
	async #with(act, instead) {
		const { base } = this;
		if (!base) return instead();
		try {
			return await inTime(act((name, mode = "readwrite") => base.transaction(name, mode).objectStore(name)));
		} catch {
			if (this.base) {
				this.base = null;
				this.lost();
			}
			return instead();
		}
	}

	/** @param {string} name @returns {Promise<any>} */
	get(name) {
		return this.#with((at) => done(at("kept", "readonly").get(name)), () => this.kept.get(name));
	}

	/** @param {string} name @param {any} value */
	async put(name, value) {
		/** @type {() => unknown} */
		const instead = () => this.kept.set(name, value);
		await this.#with(async (at) => /** @type {unknown} */ (await done(at("kept").put(value, name))), instead);
	}

	/** Keep a session's last messages, and forget those of the session that was opened longest ago. @param {string} id @param {any} value */
	async putSession(id, value) {
		const { age } = this;
		const known = (await this.get("recent")) ?? [];
		if (age !== this.age) return;
		const recent = [id, ...known.filter((/** @type {string} */ one) => one !== id)];
		await this.put(`s:${id}`, value);
		await this.put("recent", recent.slice(0, SESSIONS_KEPT));
		for (const old of recent.slice(SESSIONS_KEPT)) await this.drop(`s:${old}`);
	}

	/** @param {string} name */
	async drop(name) {
		await this.#with((at) => done(at("kept").delete(name)), () => void this.kept.delete(name));
	}

	/** All waiting messages, in the order in which they were written. @returns {Promise<OutMessage[]>} */
	waiting() {
		return this.#with((at) => done(at("outbox", "readonly").getAll()), () => [...this.outbox.values()]);
	}

	/** Add a message, or put a changed one back if it is still there. @param {OutMessage} message */
	async putWaiting(message) {
		await this.#with(
			async (at) => {
				const outbox = at("outbox");
				if (message.n === undefined) message.n = Number(await done(outbox.add(message)));
				else if (await done(outbox.getKey(message.n))) await done(outbox.put(message));
			},
			() => {
				message.n ??= this.next++;
				this.outbox.set(message.n, message);
			},
		);
	}

	/** Put back a message that the database has lost. @param {OutMessage} message */
	async restoreWaiting(message) {
		/** @type {() => unknown} */
		const instead = () => this.outbox.set(message.n ?? this.next++, message);
		await this.#with(async (at) => /** @type {unknown} */ (await done(at("outbox").put(message))), instead);
	}

	/** @param {number} n */
	async dropWaiting(n) {
		this.outbox.delete(n);
		await this.#with((at) => done(at("outbox").delete(n)), () => undefined);
	}

	/** Forget what was read ("kept"), or what was not sent ("outbox"). @param {"kept" | "outbox"} what */
	async clear(what) {
		this.age += 1;
		this[what].clear();
		await this.#with((at) => done(at(what).clear()), () => undefined);
	}
}
