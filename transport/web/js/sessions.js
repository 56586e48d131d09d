// The list of sessions: the server's, kept live by `session_changed`, or the last known one without a server.

const PAGE = 100;
/** Most sessions that are shown. Search finds the others. */
const MOST = 500;
/** The list is stored at once, and then at most this often. */
const KEEP_EVERY_MS = 500;

/** The fields of an entry. A frame may have more. */
const TOLD =
	"session_id agent_type title state head_seq last_activity unread pending workspace settings plan pinned archived background held where machine".split(
		" ",
	);

export class Sessions {
	/** @param {Store} store @param {() => void} changed */
	constructor(store, changed) {
		this.store = store;
		this.changed = () => {
			this.sorted = undefined;
			changed();
		};
		/** @type {SessionInfo[] | undefined} */
		this.sorted = undefined;
		/** @type {Map<string, SessionInfo>} */
		this.known = new Map();
		this.total = 0;
		/** Whether the server's list has come. */
		this.loaded = false;
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.timer = undefined;
	}

	/** Newest first. */
	get list() {
		this.sorted ??= [...this.known.values()].sort((a, b) => (a.last_activity < b.last_activity ? 1 : -1));
		return this.sorted;
	}

	/** Show the last known list. */
	async recall() {
		const kept = await this.store.get("sessions");
		if (!kept || this.loaded) return;
		for (const one of kept) this.known.set(one.session_id, one);
		this.changed();
	}

	/** Request the list. Changes that come meanwhile are newer and stay. @param {Api} api */
	async load(api) {
		/** @type {Map<string, SessionInfo>} */
		const found = new Map();
		/** @type {string | null} */
		let before = null;
		const began = this.known;
		this.fresh = new Set();
		do {
			const query = new URLSearchParams({ limit: String(PAGE), ...(before ? { before } : {}) });
			const page = await api.json(`/api/sessions?${query}`);
			for (const one of page.sessions) found.set(one.session_id, { ...began.get(one.session_id), ...one });
			this.total = page.total;
			before = page.next_before;
		} while (before && found.size < MOST);
		for (const id of this.fresh) found.set(id, /** @type {SessionInfo} */ (this.known.get(id)));
		this.known = found;
		this.loaded = true;
		this.#keep();
		this.changed();
	}

	/** Request the archived sessions too. @param {Api} api */
	async loadArchived(api) {
		const page = await api.json(`/api/sessions?archived=true&limit=${PAGE}`);
		for (const one of page.sessions) this.known.set(one.session_id, { ...one, archived: true });
		this.changed();
	}

	/** @type {Set<string>} those that changed while the list was on its way */
	fresh = new Set();

	/** Take a frame `session_changed`. @param {Frame} frame */
	update(frame) {
		const { session_id } = frame;
		/** @type {Record<string, any>} */
		const told = {};
		for (const name of TOLD) if (frame[name] !== undefined) told[name] = frame[name];
		this.known.set(session_id, /** @type {SessionInfo} */ ({ ...this.known.get(session_id), ...told }));
		this.fresh.add(session_id);
		this.#keep();
		this.changed();
	}

	/** An attached session is in the list, even if the list itself has not come. @param {Frame} frame */
	attached(frame) {
		const known = this.known.get(frame.session_id);
		const { session_id, agent_type, title, state, head_seq, type, content, timestamp, settings, pending, machine } =
			frame;
		const workspace = settings?.workspace ?? known?.workspace;
		const last_activity = known?.last_activity ?? timestamp;
		this.update({
			type,
			content,
			timestamp,
			session_id,
			agent_type,
			title,
			state,
			head_seq,
			workspace,
			last_activity,
			pending: pending.length,
			machine,
		});
	}

	/** @param {string} id */
	remove(id) {
		if (!this.known.delete(id)) return;
		this.#keep();
		this.changed();
	}

	stop() {
		clearTimeout(this.timer);
		this.stopped = true;
	}

	stopped = false;
	keptAt = -Infinity;

	#keep() {
		if (this.stopped || this.timer !== undefined) return;
		const pause = Math.max(0, this.keptAt + KEEP_EVERY_MS - performance.now());
		this.timer = setTimeout(() => {
			this.timer = undefined;
			this.keptAt = performance.now();
			this.store.put("sessions", this.list.slice(0, PAGE)).catch(() => {});
		}, pause);
	}
}
