// The open session on the screen: log, tasks, decision, composer.

import { button, el, icon } from "../dom.js";
import { ComposerView } from "./composer.js";
import { saveFile } from "./details.js";
import { LogView } from "./log.js";
import { PermissionView } from "./permission.js";
import { TasksView } from "./tasks.js";

/** Characters of an answer that a screen reader is given when it is there. */
const ANNOUNCED = 400;

export class ConversationView {
	/** @param {Client} client @param {{say: (text: string) => void, announce: (text: string) => void, create: (id: string, agent: string) => void}} acts */
	constructor(client, acts) {
		this.client = client;
		this.acts = acts;
		/** @type {OpenSession | null} */
		this.session = null;
		this.log = new LogView(this.#entryActs(), () => this.#edge());
		this.newest = button("Newest", () => this.log.toNewest(), "newest");
		this.newest.prepend(icon("down"));
		this.note = el("div.note", { hidden: true });
		this.tasks = new TasksView();
		this.composer = new ComposerView(acts.say);
		this.composer.sent = () => this.log.toNewest();
		this.permission = new PermissionView(
			(request, decision, more) => {
				if (decision === "interrupt") this.session?.interrupt();
				else this.session?.act({ type: "decide", request_id: request.id, decision, ...more });
			},
			() => this.composer.text.focus({ preventScroll: true }),
		);
		this.node = el(
			"section.conversation",
			{ "aria-label": "Session" },
			this.note,
			el("div.logframe", this.log.node, this.newest),
			this.tasks.node,
			this.permission.node,
			this.composer.node,
		);
		this.#drop();
		/** @type {string | null} the running turn at the last update */
		this.turn = null;
		/** @type {Map<string, {seq: number, top: number}>} where the person was in other sessions */
		this.places = new Map();
		this.goal = 0;
	}

	/** @returns {Acts} */
	#entryActs() {
		return {
			nameOf: (id) => (id ? this.#label(id) : ""),
			agent: () => this.session?.journal.agent ?? "",
			mayDrive: () => this.client.may("drive"),
			takeBack: (id) => this.session?.act({ type: "cancel", message_id: id }),
			resolve: (id, action) => this.session?.act({ type: "resolve", message_id: id, action }),
			retrySending: (message) => this.client.outbox.retry(message),
			discard: (message) => this.client.outbox.remove(message),
			going: (message) => this.client.outbox.going.get(message.message_id) ?? "",
			save: (url, name) => {
				const saved = this.client.api.fetch(url).then((answer) => answer.blob());
				saved.then((blob) => saveFile(blob, name), () => this.acts.say("The file could not be fetched."));
			},
			say: this.acts.say,
		};
	}

	/** A device's name where it has one, and its id, since several may share a name. @param {string} id */
	#label(id) {
		const name = this.session?.journal.names.get(id);
		return name && name !== id ? `${name} · ${id}` : id;
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

	/** Remember where the person was. */
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
		this.node.classList.toggle("empty", !session.shown);
		this.#note(session);
		if (session.caughtUp || !client.live || !session.goal) this.log.update(client.outbox.of(session.id));
		this.tasks.update(journal.tasks);
		this.permission.update([...journal.pending.values()], {
			agent: journal.agent,
			mayDecide: client.may("approve"),
			live: client.live,
		});
		this.composer.update({ running: journal.turn !== null, mayDrive: client.may("drive") });
		this.#announce();
		this.#edge();
		if (session.caughtUp) this.#go(session);
	}

	/** Go where a search hit, or the last visit, was. @param {OpenSession} session */
	async #go(session) {
		const { goal, held } = this;
		this.goal = 0;
		this.held = undefined;
		if (!goal && !held) return;
		const key = goal ? await session.around(goal) : await this.#keyOf(session, held?.seq ?? 0);
		if (this.session !== session || !key) return;
		this.log.reveal(key, goal ? null : (held?.top ?? 0), this.client.outbox.of(session.id));
		this.#edge();
	}

	/** @param {OpenSession} session @param {number} seq */
	async #keyOf(session, seq) {
		const find = () => session.journal.entries[session.journal.indexOf(seq)];
		if (find()?.seq !== seq) await session.near(seq);
		return find()?.seq === seq ? (find()?.key ?? null) : null;
	}

	/** @param {OpenSession} session */
	#note(session) {
		const { failure, id } = session;
		this.note.hidden = !failure;
		this.composer.node.hidden = Boolean(failure);
		if (!failure || this.noted === failure + id) return;
		this.noted = failure + id;
		const choice = this.client.agents.map((name) => button(`Begin it with ${name}`, () => this.acts.create(id, name)));
		this.note.replaceChildren(
			el("p", { role: "alert" }, failure === "unknown_session" ? "There is no such session." : "This agent is not in the server's config."),
			this.client.may("drive") ? el("div.choice", ...choice) : "",
		);
	}

	noted = "";

	/** At the end nothing is unread; away from it there is a way back. */
	#edge() {
		this.newest.hidden = this.log.stuck;
		if (this.reading) this.session?.markRead();
	}

	/** Whether somebody looks at the end of the log. */
	get reading() {
		return this.log.stuck && document.visibilityState === "visible";
	}

	/** Tell a screen reader once what a stream of pieces would tell it a hundred times. */
	#announce() {
		const journal = this.session?.journal;
		if (!journal || !this.session?.caughtUp) return;
		const ended = this.turn !== null && journal.turn !== this.turn ? journal.byTurn.get(this.turn) : undefined;
		this.turn = journal.turn;
		if (!ended) return;
		const words = ended.blocks.map((one) => one.text).join(" ");
		this.acts.announce(`${journal.agent}: ${words.slice(0, ANNOUNCED)} ${ended.ending}`);
	}
}
