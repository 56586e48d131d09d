// The open session on the screen: log, tasks, decision, composer.

import { NOT_LOADED, button, copyText, el, icon, moreStyles } from "../dom.js";
import { agentName, modeOf, waitWords } from "../names.js";
import { ComposerView } from "./composer.js";
import { LogView } from "./log.js";

/** Most characters of an answer that a screen reader gets when it is complete. */
const ANNOUNCED = 400;

/** The session's mode and model, for the button that changes them; "" if there is nothing to choose. @param {Journal} journal */
function settingWords({ offer, settings }) {
	if (!offer?.modes?.length && !offer?.models?.length) return "";
	const usual = offer.models?.find((one) => one.default) ?? offer.models?.[0];
	const model =
		offer.models?.find((one) => one.id === settings.model) ?? (settings.model ? { name: settings.model } : usual);
	const mode = modeOf(settings.permission_mode ?? offer.modes?.[0]?.id, offer);
	return [mode, model?.name].filter(Boolean).join(" · ");
}

export class ConversationView {
	/** @param {Client} client @param {{say: (text: string) => void, announce: (text: string) => void, create: (id: string, agent: string) => void}} acts */
	constructor(client, acts) {
		this.client = client;
		this.acts = acts;
		/** @type {OpenSession | null} */
		this.session = null;
		this.log = new LogView(this.#entryActs(), () => this.#edge());
		this.newest = button("Jump to latest", () => this.log.toNewest(), "newest");
		this.newest.prepend(icon("down"));
		this.note = el("div.note", { hidden: true });
		/** @type {import("./strip.js").StripView | undefined} what the agent does now */
		this.strip = undefined;
		/** @type {import("./permission.js").PermissionView | undefined} what it asks */
		this.permission = undefined;
		/** @type {import("./tasks.js").TasksView | undefined} the work that it delegated */
		this.tasks = undefined;
		/** @type {import("./plan.js").PlanView | undefined} its to-do list */
		this.plan = undefined;
		/** @type {import("./queue.js").QueueView | undefined} messages that wait for their turn */
		this.queue = undefined;
		/** @type {Set<string>} parts that are being loaded */
		this.loading = new Set();
		this.composer = new ComposerView(acts.say);
		this.composer.sent = () => this.log.toNewest();
		this.composer.choose = () =>
			this.#open(
				() => import("./steering.js"),
				({ steering }, session) => steering(session, this.composer),
			);
		this.extra = el("div.extra", { hidden: true });
		this.node = el(
			"section.conversation",
			{ "aria-label": "Session" },
			this.note,
			el("div.logframe", this.log.node, this.newest),
			this.extra,
			this.composer.node,
		);
		this.#drop();
		/** @type {string | null} the running turn at the last update */
		this.turn = null;
		/** @type {Map<string, {key: string, seq: number, top: number}>} where the person was in other sessions */
		this.places = new Map();
		this.goal = 0;
	}

	/** @type {HTMLElement | undefined} which terminal has it open (views/desk.js) */
	elsewhere;

	#workspace() {
		return /** @type {string | undefined} */ (this.session?.journal.settings.workspace ?? undefined);
	}

	/** @returns {Acts} */
	#entryActs() {
		return {
			nameOf: (id) => this.session?.journal.nameOf(id) ?? "",
			agent: () => this.session?.journal.agent ?? "",
			workspace: () => this.#workspace(),
			hasAnswer: (turn) => turn !== null && (this.session?.journal.byTurn.has(turn) ?? false),
			mayDrive: () => this.client.may("drive"),
			takeBack: (id) => this.session?.act({ type: "cancel", message_id: id }),
			editQueued: (entry) => {
				if (this.session?.act({ type: "cancel", message_id: entry.messageId })) this.composer.put(entry.text);
			},
			sendNow: (id) => this.session?.act({ type: "send_now", message_id: id }),
			mayFork: () => this.session?.journal.offer?.can?.includes("fork") ?? false,
			forkAt: (entry) =>
				this.#ways(({ fork, turnBefore }, session) =>
					fork(session, turnBefore(session, entry), entry.text, this.acts.say),
				),
			retryTurn: (entry) =>
				this.#ways(({ again }, session) => {
					again(session, entry);
					this.log.toNewest();
				}),
			resolve: (id, action) => this.session?.act({ type: "resolve", message_id: id, action }),
			retrySending: (message) => this.client.outbox.retry(message),
			discard: (message) => this.client.outbox.remove(message),
			going: (message) => this.client.outbox.going.get(message.message_id) ?? "",
			waits: () => waitWords(this.session?.machine),
			keeps: () => this.client.store.lasts,
			save: (url, name) =>
				this.#open(
					() => import("./share.js"),
					({ saveFrom }) => saveFrom(this.client.api, url, name, this.acts.say),
				),
			fetch: async (url) => (await this.client.api.fetch(url)).blob(),
			copy: async (text) =>
				this.acts.say((await copyText(text)) ? "Copied." : "The browser lets pages copy over HTTPS only."),
			more: (entry) => this.#more(entry),
			open: (part, use) => this.#open(part, use),
			redraw: (key) => {
				this.session?.journal.dirty.add(key);
				this.client.views.session();
			},
			say: this.acts.say,
		};
	}

	/**
	 * Open a part of the page for this session.
	 * @template T @param {() => Promise<T>} part @param {(part: T, session: OpenSession) => void} use
	 */
	async #open(part, use) {
		const { session } = this;
		if (!session) return;
		try {
			const [loaded] = await Promise.all([part(), moreStyles()]);
			use(loaded, session);
		} catch {
			this.acts.say(NOT_LOADED);
		}
	}

	/** @param {(part: typeof import("./ways.js"), session: OpenSession) => void} use */
	#ways(use) {
		this.#open(() => import("./ways.js"), use);
	}

	/** Actions after a turn, besides copying it. @param {AnswerEntry} entry @returns {HTMLElement[]} */
	#more(entry) {
		const { session } = this;
		if (!session || !this.client.may("drive")) return [];
		const at = el("span.ways");
		if (entry.end?.resetsAt || entry.end?.ways.length) {
			import("./ways.js").then(
				({ ways }) => at.replaceChildren(...ways(session, entry, this.acts.say)),
				() => {},
			);
		}
		if (session.journal.offer?.can?.includes("fork")) {
			at.append(button("Fork", () => this.#ways(({ fork }, now) => fork(now, entry.turn, "", this.acts.say)), "quiet"));
		}
		return [at];
	}

	#drop() {
		this.node.ondragover = (event) => event.preventDefault();
		this.node.ondrop = (event) => {
			event.preventDefault();
			this.composer.add([...(event.dataTransfer?.files ?? [])]);
		};
	}

	/** @param {OpenSession} session @param {number} at the place to bring into view; 0 for none */
	show(session, at) {
		const again = this.session === session;
		if (!again) {
			this.leave();
			this.session = session;
			this.turn = null;
			this.log.show(session);
			this.composer.show(session);
			this.composer.focus();
		}
		this.goal = at;
		this.held = at || again ? undefined : this.places.get(session.id);
		this.update();
	}

	/** Remember the person's reading position. */
	leave() {
		const place = this.log.place();
		if (!this.session) return;
		if (place) this.places.set(this.session.id, place);
		else this.places.delete(this.session.id);
		this.session = null;
	}

	update() {
		const { session, client } = this;
		if (!session || session !== client.open) return;
		const { journal } = session;
		this.node.classList.toggle("empty", session.shown && !journal.entries.length);
		this.#note(session);
		if (session.caughtUp || !client.live || !session.goal) this.log.update(client.outbox.of(session.id));
		this.#load(journal);
		if (this.elsewhere || client.sessions.known.get(session.id)?.where)
			import("./desk.js").then(
				(part) => part.banner(this, session),
				() => {},
			);
		const [mayDecide, mayDrive] = [client.may("approve"), client.may("drive")];
		this.permission?.update([...journal.pending.values()], {
			agent: journal.agent,
			mayDecide,
			mayDrive,
			live: client.live,
		});
		this.strip?.update(journal);
		this.tasks?.update(journal.tasks);
		this.plan?.update(journal.plan);
		this.queue?.update(session, mayDrive);
		this.extra.hidden = !journal.tasks.size && !journal.plan.length;
		const can = journal.offer?.can;
		const running = journal.turn !== null;
		this.composer.update({
			running,
			mayDrive,
			canSteer: !can || can.includes("steer"),
			setting: settingWords(journal),
		});
		this.#announce();
		this.#edge();
		if (session.caughtUp) this.#go(session);
	}

	/** Load a part that not every session has, once this one has it. @param {Journal} journal */
	#load(journal) {
		if (journal.running && !this.strip) {
			this.#part("strip", import("./strip.js"), ({ StripView }) =>
				this.node.prepend((this.strip = new StripView()).node),
			);
		}
		if (journal.plan.length && !this.plan) {
			this.#part("plan", import("./plan.js"), ({ PlanView }) => this.extra.prepend((this.plan = new PlanView()).node));
		}
		if (journal.tasks.size && !this.tasks) {
			this.#part("tasks", import("./tasks.js"), ({ TasksView }) =>
				this.extra.append(
					(this.tasks = new TasksView((id) => this.session?.act({ type: "stop_task", task_id: id }))).node,
				),
			);
		}
		const last = journal.entries.at(-1);
		if (!this.queue && last?.kind === "user" && last.state === "queued") {
			this.#part("queue", import("./queue.js"), ({ QueueView }) =>
				this.composer.node.prepend((this.queue = new QueueView()).node),
			);
		}
		if (journal.pending.size && !this.permission) {
			this.#part("permission", import("./permission.js"), ({ PermissionView }) => {
				this.permission = new PermissionView(this.#asking());
				this.composer.node.before(this.permission.node);
			});
		}
	}

	/** @template T @param {string} name @param {Promise<T>} part @param {(part: T) => void} use */
	async #part(name, part, use) {
		part.catch(() => {}); // this one may fail while an earlier one is under way
		if (this.loading.has(name)) return;
		this.loading.add(name);
		try {
			if (name !== "tasks" && name !== "strip") await moreStyles();
			use(await part);
			this.client.views.session();
		} catch {
			this.loading.delete(name);
			if (name === "permission") this.acts.say(NOT_LOADED);
		}
	}

	/** @returns {ConstructorParameters<typeof import("./permission.js").PermissionView>[0]} */
	#asking() {
		return {
			decide: (request, decision, more) => {
				if (decision === "interrupt") this.session?.interrupt();
				else this.session?.act({ type: "decide", request_id: request.id, decision, ...more });
			},
			closed: () => this.composer.focus(),
			waits: (text) => {
				this.composer.waits(text, () => this.permission?.enter());
				if (text) this.acts.announce(text);
			},
			workspace: () => this.#workspace(),
			offer: () => this.session?.journal.offer ?? null,
		};
	}

	/** Go to a search hit, or to the place of the last visit. @param {OpenSession} session */
	async #go(session) {
		const { goal, held } = this;
		this.goal = 0;
		this.held = undefined;
		if (!goal && !held) return;
		const place = goal ? import("./hits.js").then((part) => part.around(session, goal)) : this.#keyOf(session, held);
		const key = await place.catch(() => null);
		if (this.session !== session || !key) return;
		this.log.reveal(key, goal ? null : (held?.top ?? 0), this.client.outbox.of(session.id));
		this.#edge();
	}

	/** @param {OpenSession} session @param {{key: string, seq: number} | undefined} held */
	async #keyOf(session, held) {
		const has = () => session.journal.entries.some((one) => one.key === held?.key);
		if (held && !has()) await session.near(held.seq);
		return held && has() ? held.key : null;
	}

	/** @param {OpenSession} session */
	#note(session) {
		const { failure, id } = session;
		this.note.hidden = !failure;
		this.composer.node.hidden = Boolean(failure);
		if (!failure || this.noted === failure + id) return;
		this.noted = failure + id;
		this.note.replaceChildren();
		this.#open(
			() => import("./missing.js"),
			({ missing }) => this.note.replaceChildren(...missing(session, (agent) => this.acts.create(id, agent))),
		);
	}

	noted = "";

	/** At the end nothing is unread. Elsewhere there is a way back. */
	#edge() {
		this.newest.hidden = this.log.stuck;
		if (this.reading) this.session?.markRead();
	}

	/** Whether the person is reading the end of the log. */
	get reading() {
		return this.log.stuck && document.visibilityState === "visible";
	}

	/** Announce once to a screen reader what a stream of pieces would announce a hundred times. */
	#announce() {
		const journal = this.session?.journal;
		if (!journal || !this.session?.caughtUp) return;
		const ended = this.turn !== null && journal.turn !== this.turn ? journal.byTurn.get(this.turn) : undefined;
		this.turn = journal.turn;
		if (!ended) return;
		const words = ended.blocks.map((one) => one.text).join(" ");
		this.acts.announce(
			`${agentName(journal.agent)}: ${words.slice(0, ANNOUNCED)} ${ended.status === "complete" ? "" : (ended.end?.content ?? "")}`,
		);
	}
}
