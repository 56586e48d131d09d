// The log of a conversation: a window on the journal's entries, so that the page stays small however many there are. What the
// person reads does not move when entries change above or below it.

import { el } from "../dom.js";
import { LineView } from "./line.js";
import { UserView } from "./message.js";
import { AnswerView } from "./turn.js";

/** Most entries in the page, and how many are added at once. */
const MOST = 240;
const STEP = 16;
/** Entries that are drawn without scrolling, */
const FIRST = 100;
/** and how many of them at once, so that no drawing takes long. */
const BEGIN = 32;
/** Entries on each side of a target. More follow near an end. */
const AROUND = 8;
/** Changed entries that are drawn in one frame, so that none takes long. */
const FRAME = 24;
/** The distance from an end of the drawn entries at which more are drawn, in pixels. */
const NEAR = 1500;
/** The longest time that a search hit stays marked, in milliseconds. */
const FOUND_MS = 8000;
/** The distance from the end that counts as being there. */
const STUCK = 48;

export class LogView {
	/** @param {Acts} acts @param {() => void} moved the person scrolled, or the end came or went */
	constructor(acts, moved) {
		this.acts = acts;
		this.moved = moved;
		this.node = el("div.log", { role: "log", "aria-label": "Conversation", "aria-live": "off", tabindex: 0 });
		this.node.addEventListener("scroll", () => this.#onScroll(), { passive: true });
		new ResizeObserver(() => this.#settle()).observe(this.node);
		/** @type {OpenSession | null} */
		this.session = null;
		this.from = 0;
		this.to = 0;
		this.stuck = true;
		this.following = true;
		this.fresh = true;
		/** @type {Map<string, UserView | AnswerView | LineView>} */
		this.views = new Map();
		this.reset();
	}

	reset() {
		this.views.clear();
		this.node.replaceChildren();
		/** Whether the window ends at the last entry and grows with the log. */
		this.following = true;
		/** Whether the person is at the end. */
		this.stuck = true;
		this.from = 0;
		this.to = 0;
		this.fresh = true;
	}

	/** @param {OpenSession} session */
	show(session) {
		this.session = session;
		this.journal = session.journal;
		this.reset();
	}

	/** Draw what changed. @param {OutMessage[]} waiting messages of this session that are not delivered */
	update(waiting) {
		const { session } = this;
		if (!session) return;
		if (session.journal !== this.journal) this.show(session);
		const journal = session.journal;
		const pending = waiting.filter((one) => !journal.byMessage.has(one.message_id));
		this.#keeping(() => {
			if (this.fresh && journal.entries.length) this.#begin();
			this.#arrange(pending);
			let count = 0;
			for (const key of journal.dirty) {
				journal.dirty.delete(key);
				if (this.#refresh(key) && ++count === FRAME) break;
			}
			for (const one of pending) /** @type {UserView} */ (this.views.get(`m:${one.message_id}`)).updateWaiting(one);
		});
		if (journal.dirty.size) session.client.views.session();
		this.#fill();
	}

	#begin() {
		const { entries } = this.#journal;
		this.fresh = false;
		this.from = entries[Math.max(0, entries.length - BEGIN)]?.place ?? 0;
	}

	get #journal() {
		return /** @type {OpenSession} */ (this.session).journal;
	}

	/** The range of drawn entries, which has no gap inside. @returns {[number, number]} */
	#range() {
		const { entries } = this.#journal;
		let start = this.#journal.indexOf(this.from);
		let end = this.following ? entries.length : Math.min(entries.length, this.#journal.indexOf(this.to) + 1);
		const journal = this.#journal;
		if (this.following) {
			for (let index = end - 2; index >= start; index--) if (journal.gapAfter(index)) start = index + 1;
			if (this.stuck && end - start > MOST) start = end - MOST + STEP;
		} else {
			for (let index = start; index < end - 1; index++) if (journal.gapAfter(index)) end = index + 1;
		}
		return [start, end];
	}

	/** Put the right articles into the page, in order. @param {OutMessage[]} pending */
	#arrange(pending) {
		const { entries } = this.#journal;
		const [start, end] = this.#range();
		this.from = entries[start]?.place ?? 0;
		const wanted = entries.slice(start, end);
		const keys = new Set(wanted.map((one) => one.key));
		const tail = this.following ? pending.map((one) => `m:${one.message_id}`) : [];
		for (const key of tail) keys.add(key);
		for (const [key, view] of this.views) {
			if (keys.has(key)) continue;
			view.node.remove();
			this.views.delete(key);
		}
		let at = this.node.firstChild;
		const place = (/** @type {Node} */ node) => {
			if (node === at) at = at?.nextSibling ?? null;
			else this.node.insertBefore(node, at);
		};
		for (const entry of wanted) place((this.views.get(entry.key) ?? this.#make(entry)).node);
		for (const key of tail) place((this.views.get(key) ?? this.#waiting(key)).node);
	}

	/** @param {string} key */
	#waiting(key) {
		const view = new UserView(this.acts);
		this.views.set(key, view);
		return view;
	}

	/** @param {Entry} entry */
	#make(entry) {
		const kinds = { user: UserView, answer: AnswerView, line: LineView };
		const view = new kinds[entry.kind](this.acts);
		this.views.set(entry.key, view);
		view.update(/** @type {any} */ (entry));
		this.#journal.dirty.delete(entry.key);
		return view;
	}

	/** @param {string} key */
	#refresh(key) {
		const view = this.views.get(key);
		if (!view) return false;
		const { byMessage, byTurn, entries } = this.#journal;
		const find = () => entries.find((one) => one.key === key);
		const entry = key.startsWith("m:")
			? byMessage.get(key.slice(2))
			: key.startsWith("t:")
				? byTurn.get(key.slice(2))
				: find();
		if (entry) view.update(/** @type {any} */ (entry));
		return true;
	}

	// ---- the reading position ----

	/** Change the page without moving what the person reads. @param {() => void} change */
	#keeping(change) {
		const top = this.node.getBoundingClientRect().top;
		const held = this.stuck ? undefined : this.#firstSeen(top);
		const before = held?.getBoundingClientRect().top ?? 0;
		change();
		if (this.stuck) this.#toEnd();
		else if (held?.isConnected) {
			const moved = held.getBoundingClientRect().top - before;
			if (Math.abs(moved) >= 1) this.node.scrollTop += moved;
		}
	}

	/** @param {number} top */
	#firstSeen(top) {
		const { children } = this.node;
		let [low, high] = [0, children.length];
		while (low < high) {
			const middle = (low + high) >> 1;
			if (/** @type {Element} */ (children[middle]).getBoundingClientRect().bottom > top + 1) high = middle;
			else low = middle + 1;
		}
		return children[low];
	}

	#toEnd() {
		this.node.scrollTop = this.node.scrollHeight;
	}

	#settle() {
		if (this.stuck) this.#toEnd();
	}

	#onScroll() {
		const { scrollTop, scrollHeight, clientHeight } = this.node;
		if (!this.session || !clientHeight) return;
		const wasStuck = this.stuck;
		this.stuck = this.following && scrollHeight - scrollTop - clientHeight < STUCK;
		if (wasStuck !== this.stuck) this.moved();
		this.#fill();
	}

	/** Draw or fetch more if an end of the drawn entries is near. */
	#fill() {
		const { scrollTop, scrollHeight, clientHeight } = this.node;
		if (!this.session?.shown || this.fresh || !clientHeight) return;
		const isNear = scrollTop < NEAR;
		if (isNear || (this.following && this.views.size < FIRST)) this.#older(isNear);
		if (!this.following && scrollHeight - scrollTop - clientHeight < NEAR) this.#newer();
	}

	/** @param {boolean} isNear whether to fetch what is missing here */
	#older(isNear) {
		const journal = this.#journal;
		const { entries, complete } = journal;
		const [start, end] = this.#range();
		if (start > 0 && !journal.gapAfter(start - 1)) {
			let from = start - 1;
			while (from > 0 && start - from < STEP && !journal.gapAfter(from - 1)) from--;
			this.from = /** @type {Entry} */ (entries[from]).place;
			if (end - from > MOST) this.#until(from + MOST - 1);
			this.session?.client.views.session();
		} else if (isNear && entries[start] && (start > 0 || !complete)) {
			this.session?.load({ before: journal.rangeOf(entries[start].place)[0] });
		}
	}

	#newer() {
		const journal = this.#journal;
		const { entries } = journal;
		const [start, end] = this.#range();
		if (journal.gapAfter(end - 1)) {
			this.session?.load({ after: journal.rangeOf(/** @type {Entry} */ (entries[end - 1]).place)[1] });
			return;
		}
		const to = Math.min(entries.length - 1, end - 1 + STEP);
		this.#until(to);
		if (to - start > MOST) this.from = /** @type {Entry} */ (entries[to - MOST]).place;
		this.session?.client.views.session();
	}

	/** Let the window end at an entry. At the last entry it follows the log. @param {number} index */
	#until(index) {
		const { entries } = this.#journal;
		this.following = index >= entries.length - 1;
		this.to = entries[index]?.place ?? 0;
	}

	/** Go to the newest entry. */
	toNewest() {
		const { entries } = this.#journal;
		this.following = true;
		this.stuck = true;
		this.from = entries[Math.max(0, entries.length - BEGIN)]?.place ?? 0;
		this.session?.client.views.session();
		this.moved();
	}

	/**
	 * Scroll an entry into view, with its neighbours.
	 * @param {string} key @param {number | null} top where on the screen, in pixels from the log's top; null for the middle, marked
	 * @param {OutMessage[]} waiting
	 */
	reveal(key, top, waiting) {
		const journal = this.#journal;
		const { entries } = journal;
		const index = entries.findIndex((one) => one.key === key);
		if (index < 0) return false;
		this.fresh = false;
		this.stuck = false;
		let start = index;
		while (start > 0 && index - start < AROUND && !journal.gapAfter(start - 1)) start--;
		this.from = /** @type {Entry} */ (entries[start]).place;
		this.#until(Math.min(entries.length - 1, index + AROUND));
		this.update(waiting);
		const node = this.views.get(key)?.node;
		if (!node) return false;
		if (top === null) {
			node.scrollIntoView({ block: "center" });
			node.classList.add("found");
			node.focus({ preventScroll: true });
			// The mark shows the hit until the person does something else.
			const unmark = () => node.classList.remove("found");
			for (const one of ["pointerdown", "keydown", "wheel"])
				this.node.addEventListener(one, unmark, { once: true, passive: true });
			setTimeout(unmark, FOUND_MS);
		} else {
			this.node.scrollTop += node.getBoundingClientRect().top - this.node.getBoundingClientRect().top - top;
		}
		this.#onScroll();
		return true;
	}

	/** Go to the next or the previous message. @param {1 | -1} by */
	step(by) {
		const all = /** @type {HTMLElement[]} */ ([...this.node.querySelectorAll("article")]);
		const top = this.node.getBoundingClientRect().top;
		const focused = all.findIndex((one) => one.contains(document.activeElement));
		const at = focused >= 0 ? focused : all.findIndex((one) => one.getBoundingClientRect().bottom > top + 1);
		const next = all[at + by];
		if (!next) return;
		next.focus({ preventScroll: true });
		next.scrollIntoView({ block: "nearest" });
	}

	/** The reading position, to restore it later; null at the end. @returns {{key: string, seq: number, top: number} | null} */
	place() {
		if (this.stuck || !this.session) return null;
		const top = this.node.getBoundingClientRect().top;
		const seen = this.#firstSeen(top);
		const entry = [...this.views].find(([, view]) => view.node === seen)?.[0];
		const found = this.#journal.entries.find((one) => one.key === entry);
		return found && seen ? { key: found.key, seq: found.seq, top: seen.getBoundingClientRect().top - top } : null;
	}
}
