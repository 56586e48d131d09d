// How long after its time an event is on the screen. The newest figure goes to the server with the next frame.

/** The shortest time between two reports. The server counts no more of them. */
const EVERY_MS = 2000;
/** The longest delay that the server takes. */
const LONGEST_MS = 3.6e6;

export class Paint {
	/** How far the server's clock is ahead of ours, in milliseconds. */
	#ahead = 0;
	/** @type {Frame | null} the newest event that is not drawn yet */
	#come = null;
	/** @type {Record<string, any> | null} */
	#report = null;
	#sentAt = -Infinity;

	/** A new connection. Its first frame was on its way for half of the time since the sign-in was sent. @param {Frame} ready @param {number} askedMs how long ago that was */
	begin(ready, askedMs) {
		this.forget();
		this.#ahead = Date.parse(ready.timestamp) - (Date.now() - askedMs / 2);
	}

	/** The session is left: a report about it is refused from now on. */
	forget() {
		this.#come = this.#report = null;
	}

	/** An event came that has just happened. @param {Frame} event */
	came(event) {
		this.#come = event;
	}

	/** The page was drawn, and the browser shows it next. */
	drawn() {
		const event = this.#come;
		if (!event || document.hidden) return;
		this.#come = null;
		setTimeout(() => {
			const ms = Math.max(0, Math.round(Date.now() + this.#ahead - Date.parse(event.timestamp)));
			if (ms <= LONGEST_MS) this.#report = { type: "painted", session_id: event.session_id, seq: event.seq, ms };
		});
	}

	/** What to send now; null if there is nothing, or if the last report is too new. */
	take() {
		const now = performance.now();
		if (!this.#report || now - this.#sentAt < EVERY_MS) return null;
		const report = this.#report;
		this.#report = null;
		this.#sentAt = now;
		return report;
	}
}
