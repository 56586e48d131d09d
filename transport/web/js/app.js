// The app: who is signed in, what is on the screen, and one drawing per frame however much changed.

import { Client } from "./client.js";
import { NOT_LOADED, moreStyles } from "./dom.js";
import { forgetAll, randomHex, recall, remember, setTheme } from "./identity.js";
import { machineWords, modeOf, sessionName } from "./names.js";
import { closeDialogs, goTo, here, isOwnId, routeOf } from "./router.js";
import { ConversationView } from "./views/conversation.js";
import { ListView } from "./views/list.js";
import { Shell, connectionText } from "./views/shell.js";
import { signInView, tryKey } from "./views/signin.js";
import { StartView } from "./views/start.js";

/** How long a lag must last before it is shown: a heartbeat may arrive before the events that it counts are drawn. */
const LAG_MS = 300;

export class App {
	/** @param {HTMLElement} root @param {Store} store */
	constructor(root, store) {
		this.store = store;
		this.shell = new Shell(root, {
			details: () => this.do("details"),
			back: (event) => this.#back(event),
			settings: () => this.do("settings"),
			pair: () => this.do("pair"),
			signOut: () => this.do("signOut"),
			skip: () => this.conversation?.composer.text.focus(),
		});
		/** @type {Client | null} */
		this.client = null;
		this.list = new ListView({
			create: () => this.do("create"),
			search: async (query) =>
				(await this.client?.api.json(`/api/search?q=${encodeURIComponent(query)}&limit=50`)).hits,
			needs: (at, one, open) => this.client?.peeks?.draw(at, one.session_id, open),
			organize: (id, what) => this.#act({ type: "organize", session_id: id, ...what }),
			redraw: (archived) => {
				if (archived) this.client?.sessions.loadArchived(this.client.api).catch(() => {}); // show the sessions that are known
				this.#draw("list");
			},
		});
		this.start = new StartView((agent, text) => this.#begin(agent, text));
		this.pane = document.createElement("div");
		this.pane.className = "pane";
		/** Where the pane explains how to begin. */
		this.greeting = document.createElement("div");
		this.pane.append(this.greeting);
		/** @type {Set<string>} what is to be drawn */
		this.due = new Set();
		this.sessionFirst = false;
		this.lagSince = 0;
		/** The status for which the welcome was drawn. */
		this.told = "";
		/** @type {any} */
		this.status = null;
		/** Whether the status was requested and has come or failed. */
		this.asked = false;
		/** Whether the page before this session was the list, so that "back" can be the browser's. */
		this.cameFromList = false;
		this.tabs = new BroadcastChannel("builderos.tabs");
		this.tabs.onmessage = () => this.#signOut();
		addEventListener("desk", () => this.do("desk"));
		store.lost = () =>
			this.shell.say(
				"This browser stores nothing for this page. Messages that wait to be sent are lost if you close it.",
			);
	}

	/** Begin with this browser's key, or ask for one. */
	begin() {
		const key = recall("key");
		if (key) this.#enter(key);
		else this.askForKey("");
	}

	/** @param {string} trouble */
	askForKey(trouble) {
		this.client?.stop();
		this.client = null;
		closeDialogs();
		const view = signInView((key) => this.signIn(key), trouble);
		this.shell.head("BuilderOS", "");
		this.shell.connection("offline");
		this.shell.show("signin", view);
		view.querySelector("input")?.focus();
	}

	/** Sign in with a key from a link. The key may be wrong. @param {string} key */
	async tryToSignIn(key) {
		const worth = await tryKey(key);
		if (worth === "bad") this.askForKey("This key is not valid.");
		else this.signIn(key); // a missing network says nothing about the key
	}

	/** @param {string} key */
	signIn(key) {
		remember("key", key);
		// Safari deletes a page's data after seven days without a visit, unless the page asks to keep it.
		navigator.storage?.persist?.().catch(() => false);
		this.#enter(key);
	}

	/** @param {string} key */
	#enter(key) {
		this.client?.stop();
		this.client = new Client(key, this.store, {
			list: () => this.#draw("list"),
			session: () => this.#draw("session"),
			status: () => this.#draw("status"),
			refused: (code) => this.#refused(code),
			say: (text) => this.shell.say(text),
			restarted: (differs) => this.#restarted(differs),
		});
		this.conversation = new ConversationView(this.client, {
			say: (text) => this.shell.say(text),
			announce: (text) => this.shell.announce(text),
			create: (id, agent) => this.make(id, agent, {}),
		});
		this.client.start();
		if (!this.store.lasts) this.store.lost();
		this.route();
		this.#draw("status");
		this.#askStatus();
	}

	async #askStatus() {
		try {
			this.status = await this.client?.api.json("/api/status");
		} catch {
			// the server knows what is missing
		}
		this.asked = true;
		this.#draw("list");
	}

	// ---- the page ----

	/** Show the page of the address. */
	route() {
		const { client, conversation } = this;
		if (!client || !conversation) return;
		if (!history.state?.sheet) closeDialogs();
		const route = routeOf(location.hash);
		if (route.view === "session" && isOwnId(route.id)) {
			import("./doings.js").then(
				({ toAlias }) => toAlias(client, route.id),
				() => location.replace("#/"),
			);
			return;
		}
		if (route.view === "session") {
			const wasList = this.shell.root.getAttribute("data-view") === "list";
			if (client.open?.id !== route.id) {
				conversation.leave();
				this.cameFromList = wasList;
			}
			const open = client.openSession(route.id, this.making?.id === route.id ? this.making : {});
			this.making = undefined;
			this.shell.show("session", this.list.node, conversation.node);
			conversation.show(open, route.at);
		} else {
			conversation.leave();
			client.closeSession();
			this.shell.show("list", this.list.node, this.pane);
		}
		const wide = matchMedia("(min-width: 760px) and (min-height: 480px)").matches;
		(wide && route.view === "list" ? this.pane : this.list.start).append(this.start.node);
		this.#draw("list", "status", "session");
	}

	/** The arrow does the same as the browser's own, so that the history does not grow. @param {Event} event */
	#back(event) {
		event.preventDefault();
		if (this.cameFromList) history.back();
		else location.replace("#/");
	}

	/** Draw once before the next frame. @param {...("list" | "session" | "status")} what */
	#draw(...what) {
		if (!this.due.size) {
			// A page in the background gets no frames. What it shows must still be right for anything else that reads it.
			if (document.visibilityState === "visible") requestAnimationFrame(() => this.#drawNow());
			else setTimeout(() => this.#drawNow(), 100);
		}
		for (const one of what) this.due.add(one);
	}

	#drawNow() {
		const { client, due } = this;
		const drawn = new Set(due);
		due.clear();
		if (!client) return;
		if (drawn.has("list") && drawn.has("session")) {
			// One of them per frame, in turn, so that no frame takes long.
			const later = (this.sessionFirst = !this.sessionFirst) ? "list" : "session";
			drawn.delete(later);
			this.#draw(later);
		}
		if (drawn.has("list")) this.#drawList(client);
		if (drawn.has("session") || drawn.has("list")) {
			this.conversation?.update();
			client.paint.drawn();
		}
		this.#heading(client);
		this.#connection(client);
	}

	/** @param {Client} client */
	#drawList(client) {
		const ready = client.may("drive") && client.agents.length > 0;
		const { list, known, loaded } = client.sessions;
		this.list.update(list, {
			open: client.open?.id ?? null,
			reading: this.conversation?.reading ?? false,
			loaded,
			live: client.live,
			ready,
		});
		this.shell.pair.hidden = !client.may("admin");
		this.start.update(client.may("drive") ? this.agents(client) : []);
		this.#peek(
			client,
			list.filter((one) => one.state === "waiting" && one.session_id !== client.open?.id).map((one) => one.session_id),
		);
		const told = JSON.stringify([this.status, loaded, known.size > 0]);
		if (told === this.told || !loaded || !this.asked) return;
		this.told = told;
		import("./views/welcome.js").then(
			({ welcomeView }) => {
				this.greeting.replaceChildren(welcomeView(this.status, known.size));
				this.list.welcome.replaceChildren(welcomeView(this.status, known.size, known.size > 0));
			},
			() => (this.told = ""),
		);
	}

	/** Open previews of the sessions that wait for a person. @param {Client} client @param {string[]} ids */
	async #peek(client, ids) {
		if (!client.peeks && ids.length) {
			const part = await import("./peeks.js").catch(() => null);
			if (part) client.peeks ??= new part.Peeks(client, () => this.#draw("list"));
		}
		client.peeks?.want(ids);
	}

	/** The agents, ready ones first. @param {Client} client */
	agents({ agents }) {
		const ready = new Map(
			(Array.isArray(this.status?.agents) ? this.status.agents : []).map((/** @type {any} */ one) => [
				one.name,
				one.ready !== false,
			]),
		);
		return [...agents].sort((a, b) => Number(ready.get(b) ?? true) - Number(ready.get(a) ?? true));
	}

	/** @param {Client} client */
	#heading(client) {
		const { open } = client;
		const journal = open?.journal;
		const unread = client.sessions.list.filter((one) => one.unread && one.session_id !== open?.id).length;
		this.shell.more.hidden = !open;
		if (!open || !journal) return this.shell.head("BuilderOS", "", unread);
		const { workspace, model, permission_mode: mode } = journal.settings;
		const others = new Set(journal.devices.map((one) => one.device_id)).size;
		const project = workspace?.replace(/\/+$/, "").split("/").pop() ?? "";
		const words = [
			journal.agent,
			machineWords(open.machine),
			project,
			model,
			modeOf(mode, journal.offer),
			others > 1 ? `${others} devices` : "",
		];
		this.shell.head(sessionName(journal.title, open.id), open.shown ? words.filter(Boolean).join(" · ") : "", unread);
		this.shell.context(journal.gauge?.context);
	}

	/** @param {Client} client */
	#connection(client) {
		const behind = client.live && client.open?.shown ? client.open.journal.behind : 0;
		const now = performance.now();
		this.lagSince = behind ? this.lagSince || now : 0;
		const told = behind && now - this.lagSince >= LAG_MS;
		if (behind && !told) setTimeout(() => this.#draw("status"), LAG_MS);
		this.shell.connection(
			connectionText({ live: client.live, behind: told ? behind : 0, networkSeen: navigator.onLine }),
		);
	}

	// ---- what the person does ----

	/** @param {Record<string, any>} frame */
	#act(frame) {
		if (!this.client?.connection.send(frame)) this.shell.say("Not connected at the moment.");
	}

	/** Run an action whose code is loaded at its first use. @param {"create" | "desk" | "details" | "settings" | "pair" | "palette" | "shortcuts" | "signOut"} what */
	do(what) {
		Promise.all([import("./doings.js"), moreStyles()]).then(
			([doings]) => this.client && doings[what](this, this.client),
			() => this.shell.say(NOT_LOADED),
		);
	}

	/** @param {string} id @param {string} agent @param {Record<string, string | boolean>} settings */
	make(id, agent, settings) {
		this.making = { id, agent, ...(Object.keys(settings).length ? { settings } : {}) };
		if (this.client?.open?.id === id) this.client.closeSession();
		goTo(`#/s/${id}`);
	}

	/** @type {{id: string, agent: string, settings?: Record<string, string | boolean>} | undefined} the session that is being created */
	making = undefined;

	/** Create a session with its first message. @param {string} agent @param {string} text */
	#begin(agent, text) {
		const { client } = this;
		if (!client) return;
		const id = `s-${randomHex(6)}`;
		this.making = { id, agent };
		location.hash = `#/s/${id}`;
		this.route();
		client.open?.send(text, []);
	}

	/** @param {string} name */
	theme(name) {
		remember("theme", name === "system" ? null : name);
		setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
	}

	/** Delete all data of this page, in all tabs. */
	signOut() {
		this.tabs.postMessage("signed out");
		this.#signOut();
	}

	/** Delete all data of this page. */
	async #signOut() {
		const outbox = this.client?.outbox;
		await this.#leave("", false);
		await outbox?.clear();
		await this.store.clear("outbox");
	}

	/** The server no longer accepts this key. @param {number} code */
	#refused(code) {
		const known = this.client?.known ?? false;
		const gone = known
			? "This device was removed, or its key was changed. Sign in again with a new link or key."
			: "This key is not valid.";
		this.#leave(code === 4403 ? "This key may not connect." : gone, true);
	}

	/** Delete the key and what was read. Unsent messages stay for the next sign-in. @param {string} trouble @param {boolean} drafts whether drafts stay too */
	async #leave(trouble, drafts) {
		this.client?.stop();
		this.client = null;
		if (recall("notify")) import("./push.js").then((push) => push.leave());
		forgetAll(drafts);
		here.sheet = 0;
		history.replaceState(null, "", "/#/");
		this.askForKey(trouble);
		await this.store.clear("kept");
	}

	// ---- events around the page ----

	wake() {
		this.client?.connection.wake();
		this.#draw("status", "session", "list");
	}

	networkGone() {
		this.client?.connection.networkGone();
		this.#draw("status");
	}

	/** @param {boolean} now */
	visible(now) {
		if (now) this.wake();
		else this.#keep();
		this.client?.look(now);
	}

	#keep() {
		const open = this.client?.open;
		open?.keep();
		open?.draft.publish();
	}

	/** The worker compares the files. A page without a worker compares the server's version. @param {boolean} differs */
	#restarted(differs) {
		const worker = navigator.serviceWorker?.controller;
		if (worker) worker.postMessage("renew");
		else if (differs) this.updated();
	}

	/** Another version of this page exists. It is used when the person agrees. What was typed and chosen is kept. */
	updated() {
		this.shell.offerUpdate(() => {
			this.#keep();
			location.reload();
		});
	}
}
