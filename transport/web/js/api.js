// The server's HTTP API. The key is sent in a header, never in an address.

/** A failed request. `status` 0 means that the server could not be reached. */
export class ApiError extends Error {
	/** @param {number} status @param {string} message */
	constructor(status, message) {
		super(message);
		this.status = status;
	}
}

/** The longest wait for an answer, in milliseconds. A phone's network may lose a request without an error. */
const LIMIT_MS = 20_000;

export class Api {
	/** @param {string} key */
	constructor(key) {
		this.key = key;
	}

	/**
	 * @param {string} path @param {{method?: string, body?: any}} [how]
	 * @returns {Promise<Response>}
	 */
	async fetch(path, { method = "GET", body } = {}) {
		/** @type {Record<string, string>} */
		const headers = { Authorization: `Bearer ${this.key}` };
		if (body !== undefined) headers["Content-Type"] = "application/json";
		const stop = new AbortController();
		const timer = setTimeout(() => stop.abort(), LIMIT_MS);
		/** @type {Response} */
		let answer;
		try {
			answer = await fetch(path, {
				method,
				headers,
				body: body === undefined ? undefined : JSON.stringify(body),
				cache: "no-store",
				credentials: "same-origin",
				signal: stop.signal,
			});
		} catch {
			throw new ApiError(0, "Cannot reach the server.");
		} finally {
			clearTimeout(timer);
		}
		if (!answer.ok) throw new ApiError(answer.status, await reason(answer));
		return answer;
	}

	/** @param {string} path @param {{method?: string, body?: any}} [how] @returns {Promise<any>} */
	async json(path, how) {
		return (await this.fetch(path, how)).json();
	}

	/**
	 * Entries of a session's conversation, rendered.
	 * @param {string} id @param {Record<string, string | number>} query
	 */
	async messages(id, query) {
		const asked = new URLSearchParams({ format: "html" });
		for (const [name, value] of Object.entries(query)) asked.set(name, String(value));
		return this.json(`/api/sessions/${encodeURIComponent(id)}/messages?${asked}`);
	}
}

/** @param {Response} answer */
async function reason(answer) {
	try {
		return (await answer.json()).error.message;
	} catch {
		return `The server answered ${answer.status}.`;
	}
}
