// The browser's database: messages that wait, and what was read, for when there is no server.

const NAME = "builderos";
const VERSION = 1;
/** Sessions whose last messages are kept. */
const SESSIONS_KEPT = 40;

/** @typedef {import("./types").OutMessage} OutMessage */

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise<IDBDatabase>} */
function open() {
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("kept");
    request.result.createObjectStore("outbox", { keyPath: "n", autoIncrement: true });
  };
  return done(request);
}

/** Where the browser gives no database, this page's memory has to do. */
class Memory {
  /** @type {Map<string, any>} */
  kept = new Map();
  /** @type {Map<number, OutMessage>} */
  outbox = new Map();
  next = 1;
}

export class Store {
  /** @param {IDBDatabase | Memory} at */
  constructor(at) {
    this.at = at;
  }

  static async open() {
    try {
      return new Store(await open());
    } catch {
      return new Store(new Memory());
    }
  }

  /** Whether what is put here outlives the page. */
  get lasts() {
    return !(this.at instanceof Memory);
  }

  /** @param {string} store @param {IDBTransactionMode} mode */
  #store(store, mode) {
    return /** @type {IDBDatabase} */ (this.at).transaction(store, mode).objectStore(store);
  }

  /** @param {string} name @returns {Promise<any>} */
  async get(name) {
    if (this.at instanceof Memory) return this.at.kept.get(name);
    return done(this.#store("kept", "readonly").get(name));
  }

  /** @param {string} name @param {any} value */
  async put(name, value) {
    if (this.at instanceof Memory) this.at.kept.set(name, value);
    else await done(this.#store("kept", "readwrite").put(value, name));
  }

  /** Keep a session's last messages, and forget those of the session that was opened longest ago. @param {string} id @param {any} value */
  async putSession(id, value) {
    const recent = [id, ...((await this.get("recent")) ?? []).filter((/** @type {string} */ one) => one !== id)];
    await this.put(`s:${id}`, value);
    await this.put("recent", recent.slice(0, SESSIONS_KEPT));
    for (const old of recent.slice(SESSIONS_KEPT)) await this.drop(`s:${old}`);
  }

  /** @param {string} name */
  async drop(name) {
    if (this.at instanceof Memory) this.at.kept.delete(name);
    else await done(this.#store("kept", "readwrite").delete(name));
  }

  /** All waiting messages, in the order in which they were written. @returns {Promise<OutMessage[]>} */
  async waiting() {
    if (this.at instanceof Memory) return [...this.at.outbox.values()];
    return done(this.#store("outbox", "readonly").getAll());
  }

  /** Add a message, or put a changed one back, where it is still there. @param {OutMessage} message */
  async putWaiting(message) {
    if (this.at instanceof Memory) {
      message.n ??= this.at.next++;
      this.at.outbox.set(message.n, message);
      return;
    }
    const store = this.#store("outbox", "readwrite");
    if (message.n === undefined) message.n = Number(await done(store.add(message)));
    else if (await done(store.getKey(message.n))) await done(store.put(message));
  }

  /** @param {number} n */
  async dropWaiting(n) {
    if (this.at instanceof Memory) this.at.outbox.delete(n);
    else await done(this.#store("outbox", "readwrite").delete(n));
  }

  /** Forget what was read. */
  async clearKept() {
    if (this.at instanceof Memory) this.at.kept.clear();
    else await done(this.#store("kept", "readwrite").clear());
  }

  /** Forget what was not sent. */
  async clearWaiting() {
    if (this.at instanceof Memory) this.at.outbox.clear();
    else await done(this.#store("outbox", "readwrite").clear());
  }
}
