// The browser's database: waiting messages, and what was read, for times without a server.
//
// A browser may refuse to store anything, fail later, or never answer. Then this page's memory replaces the database, and
// `lost` is called. The person can still read and send, and sees what is not stored.

/** Sessions whose last messages are stored. */
const SESSIONS_KEPT = 40;
/** The longest wait for the database, in milliseconds. */
const LIMIT_MS = 4000;
/** The first number for messages that are only in memory: after those of any database. */
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
		/** Rises when everything is deleted, so that writes on their way to the database are dropped. */
		this.age = 0;
		/** @type {Map<string, any>} */
		this.kept = new Map();
		/** @type {Map<number, OutMessage>} */
		this.outbox = new Map();
		this.next = FIRST_IN_MEMORY;
		/** @type {() => void} the database is no longer used */
		this.lost = () => {};
	}

	/** Open the database. If that fails, use the page's memory. */
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

	/** Whether stored data outlives the page. */
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
		return this.#with(
			(at) => done(at("kept", "readonly").get(name)),
			() => this.kept.get(name),
		);
	}

	/** @param {string} name @param {any} value */
	async put(name, value) {
		/** @type {() => unknown} */
		const instead = () => this.kept.set(name, value);
		await this.#with(async (at) => /** @type {unknown} */ (await done(at("kept").put(value, name))), instead);
	}

	/** Store a session's last messages, and delete those of the session that was opened longest ago. @param {string} id @param {any} value */
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
		await this.#with(
			(at) => done(at("kept").delete(name)),
			() => void this.kept.delete(name),
		);
	}

	/** All waiting messages, in the order in which they were written. @returns {Promise<OutMessage[]>} */
	waiting() {
		return this.#with(
			(at) => done(at("outbox", "readonly").getAll()),
			() => [...this.outbox.values()],
		);
	}

	/** Add a message, or put back a changed one if it is still there. @param {OutMessage} message */
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
		await this.#with(
			(at) => done(at("outbox").delete(n)),
			() => undefined,
		);
	}

	/** Delete what was read ("kept"), or what was not sent ("outbox"). @param {"kept" | "outbox"} what */
	async clear(what) {
		this.age += 1;
		this[what].clear();
		await this.#with(
			(at) => done(at(what).clear()),
			() => undefined,
		);
	}
}
