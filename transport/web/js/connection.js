// A sequence of WebSockets to the server: signing in, time limits, reconnecting.

/** The longest wait until a socket is open and signed in. */
const CONNECT_LIMIT_MS = 10_000;
/** The longest wait for any frame after the page returned to the front. */
const ANSWER_LIMIT_MS = 3000;
/** How often the age of the last frame is checked. */
const LOOK_MS = 1000;
/** A connection that lived this long was good: the next loss starts the delays again. */
const GOOD_MS = 10_000;
const LONGEST_PAUSE_MS = 30_000;
const CROWDED_PAUSE_MS = 15_000;

const BAD_KEY = 4401;
const NOT_ALLOWED = 4403;
const TOO_MANY = 4429;

/**
 * The delay before a try: none for the first, then twice as long each time, with half of it random.
 * @param {number} tries how many failed @param {number} chance from 0 to 1
 */
export function pauseMs(tries, chance) {
	if (tries === 0) return 0;
	return Math.min(LONGEST_PAUSE_MS, 500 * 2 ** Math.min(tries, 10)) * (0.5 + chance / 2);
}

export class Connection {
	/** @param {string} url @param {string} key @param {Listener} listener */
	constructor(url, key, listener) {
		this.url = url;
		this.key = key;
		this.listener = listener;
		/** @type {WebSocket | null} */
		this.socket = null;
		this.live = false;
		this.stopped = false;
		this.tries = 0;
		this.heartbeatMs = 15_000;
		this.lastFrame = 0;
		this.since = 0;
		this.askedAt = 0;
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.timer = undefined;
		this.look = setInterval(() => this.#lookAtAge(), LOOK_MS);
	}

	start() {
		this.#connect();
	}

	stop() {
		this.stopped = true;
		clearTimeout(this.timer);
		clearInterval(this.look);
		this.#drop();
	}

	/** Send a frame. Returns false if there is no connection. @param {Record<string, any>} frame */
	send(frame) {
		if (!this.live || this.socket?.readyState !== WebSocket.OPEN) return false;
		this.socket.send(JSON.stringify(frame));
		const more = this.listener.more();
		if (more) this.socket.send(JSON.stringify(more));
		return true;
	}

	/** The page or the network came back: do not trust the socket. */
	wake() {
		if (this.stopped) return;
		if (!this.live) {
			this.tries = 0;
			if (this.socket && performance.now() - this.since < ANSWER_LIMIT_MS) return; // a try has just begun
			this.#connect();
		} else if (performance.now() - this.lastFrame > this.heartbeatMs * 1.3) {
			this.#lost();
		} else {
			const asked = performance.now();
			this.send({ type: "ping" });
			clearTimeout(this.timer);
			this.timer = setTimeout(() => this.live && this.lastFrame < asked && this.#lost(), ANSWER_LIMIT_MS);
		}
	}

	/** The browser reports no network. That may be wrong, so this keeps trying. */
	networkGone() {
		if (!this.stopped) this.#lost();
	}

	#lookAtAge() {
		if (this.live && performance.now() - this.lastFrame > 2 * this.heartbeatMs) this.#lost();
		if (this.live && this.tries && performance.now() - this.since > GOOD_MS) this.tries = 0;
	}

	#connect() {
		this.#drop();
		clearTimeout(this.timer);
		this.since = performance.now();
		let socket;
		try {
			socket = this.socket = new WebSocket(this.url);
		} catch {
			this.#again(this.tries);
			return;
		}
		this.timer = setTimeout(() => this.#lost(), CONNECT_LIMIT_MS);
		socket.onopen = () => {
			this.askedAt = performance.now();
			socket.send(JSON.stringify({ type: "auth", token: this.key }));
		};
		socket.onmessage = (event) => this.#onText(event.data);
		socket.onclose = (event) => this.#onClose(event.code);
	}

	/** @param {string} text */
	#onText(text) {
		this.lastFrame = performance.now();
		/** @type {Frame} */
		const frame = JSON.parse(text);
		if (frame.type === "ready" && !this.live) {
			clearTimeout(this.timer);
			this.live = true;
			this.since = this.lastFrame;
			this.heartbeatMs = (frame.heartbeat_s ?? 15) * 1000;
			this.listener.ready(frame, this.lastFrame - this.askedAt);
			this.listener.change();
		} else if (frame.type === "error" && frame.code === "unauthorized") {
			this.#onClose(BAD_KEY);
		} else {
			this.listener.frame(frame);
		}
	}

	/** @param {number} code */
	#onClose(code) {
		if (this.stopped) return;
		if (code === BAD_KEY || code === NOT_ALLOWED) {
			this.stop();
			this.listener.refused(code);
		} else if (code === TOO_MANY) {
			this.#lost(CROWDED_PAUSE_MS * (1 + Math.random()));
		} else {
			this.#lost();
		}
	}

	/** This socket sends nothing any more: open the next one. @param {number} [atLeastMs] */
	#lost(atLeastMs = 0) {
		const wasLive = this.live;
		this.#drop();
		this.#again(this.tries, atLeastMs);
		if (wasLive) this.listener.change();
	}

	/** @param {number} tries @param {number} [atLeastMs] */
	#again(tries, atLeastMs = 0) {
		clearTimeout(this.timer);
		this.tries = tries + 1;
		this.timer = setTimeout(() => this.#connect(), Math.max(atLeastMs, pauseMs(tries, Math.random())));
	}

	/** Drop the socket without waiting for its close, which a dead network would delay. */
	#drop() {
		const socket = this.socket;
		this.socket = null;
		this.live = false;
		if (!socket) return;
		socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
		socket.close();
	}
}
