// The app: who is signed in, what is on the screen, and one drawing a frame however much changed.

import { Client } from "./client.js";
import { forgetAll, randomHex, recall, remember } from "./identity.js";
import { routeOf } from "./router.js";
import { ConversationView } from "./views/conversation.js";
import { sessionDetails } from "./views/details.js";
import { newSession } from "./views/dialogs.js";
import { ListView } from "./views/list.js";
import { pairDevice } from "./views/pair.js";
import { Shell, connectionText } from "./views/shell.js";
import { signInView, tryKey } from "./views/signin.js";
import { missing, welcomeView } from "./views/welcome.js";

/** How long a lag must last before it is told: a heartbeat may overtake the drawing of what it counts. */
const LAG_MS = 300;

/** A session's id in the form that the iOS app gives it. */
const OWN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-(claude|codex)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export class App {
	/** @param {HTMLElement} root @param {Store} store */
	constructor(root, store) {
		this.store = store;
		this.shell = new Shell(root, { details: () => this.#details() });
		/** @type {Client | null} */
		this.client = null;
		this.list = new ListView({
			create: () => this.#create(),
			pair: () => this.client && pairDevice(this.client.api),
			signOut: () => {
				this.tabs.postMessage("signed out");
				this.#signOut();
			},
			search: async (query) => (await this.client?.api.json(`/api/search?q=${encodeURIComponent(query)}&limit=50`)).hits,
		});
		this.pane = document.createElement("div");
		this.pane.className = "pane";
		/** @type {Set<string>} what is to be drawn */
		this.due = new Set();
		this.lagSince = 0;
		/** What the welcome was drawn from. */
		this.told = "";
		/** @type {any} */
		this.status = null;
		this.tabs = new BroadcastChannel("builderos.tabs");
		this.tabs.onmessage = () => this.#signOut();
	}

	/** Begin with the key that this browser has, or ask for one. */
	begin() {
		const key = recall("key");
		if (key) this.#enter(key);
		else this.askForKey("");
	}

	/** @param {string} trouble */
	askForKey(trouble) {
		this.client?.stop();
		this.client = null;
		const view = signInView((key) => this.signIn(key), trouble);
		this.shell.head("BuilderOS", "");
		this.shell.connection("offline");
		this.shell.show("signin", view);
		view.querySelector("input")?.focus();
	}

	/** Sign in with a key that a link brought, which may be wrong. @param {string} key */
	async tryToSignIn(key) {
		const worth = await tryKey(key);
		if (worth === "bad") this.askForKey("This key is not valid.");
		else this.signIn(key); // a key is not worse for a network that is away
	}

	/** @param {string} key */
	signIn(key) {
		remember("key", key);
		this.#enter(key);
	}

	/** @param {string} key */
	#enter(key) {
		this.client?.stop();
		this.client = new Client(key, this.store, {
			list: () => this.#draw("list"),
			session: () => this.#draw("session"),
			status: () => this.#draw("status"),
			refused: (code) => this.#leave(code === 4403 ? "This key may not connect." : "This key is not valid."),
			say: (text) => this.shell.say(text),
		});
		this.conversation = new ConversationView(this.client, {
			say: (text) => this.shell.say(text),
			announce: (text) => this.shell.announce(text),
			create: (id, agent) => this.#make(id, agent, {}),
		});
		this.client.start();
		this.route();
		this.#draw("status");
		this.#askStatus();
	}

	async #askStatus() {
		try {
			this.status = await this.client?.api.json("/api/status");
		} catch {
			return; // what is missing is not known without the server
		}
		this.#draw("list");
	}

	// ---- the page ----

	/** Show what the address names. */
	route() {
		const { client, conversation } = this;
		if (!client || !conversation) return;
		const route = routeOf(location.hash);
		if (route.view === "session" && OWN_ID.test(route.id)) {
			this.#toAlias(route.id);
			return;
		}
		if (route.view === "session") {
			if (client.open?.id !== route.id) conversation.leave();
			const open = client.openSession(route.id, this.making?.id === route.id ? this.making : {});
			this.making = undefined;
			this.shell.show("session", this.list.node, conversation.node);
			conversation.show(open, route.at);
		} else {
			conversation.leave();
			client.closeSession();
			this.shell.show("list", this.list.node, this.pane);
		}
		this.#draw("list", "status", "session");
	}

	/** An older address names a session by an id of the iOS app; the server answers with what that is called now. @param {string} id */
	async #toAlias(id) {
		try {
			const told = await this.client?.api.json(`/api/sessions/${id}/messages?limit=1`);
			location.replace(`#/s/${told.session_id}`);
		} catch {
			location.replace("#/");
		}
	}

	/** Draw before the next frame, once. @param {...("list" | "session" | "status")} what */
	#draw(...what) {
		if (!this.due.size) {
			// A page in the background gets no frames; what it shows must still be right for whoever looks at it by other means.
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
		if (drawn.has("list")) this.#drawList(client);
		if (drawn.has("session")) this.conversation?.update();
		this.#heading(client);
		this.#connection(client);
	}

	/** @param {Client} client */
	#drawList(client) {
		const may = (/** @type {"drive" | "admin"} */ scope) => client.may(scope);
		this.list.update(client.sessions.list, {
			open: client.open?.id ?? null,
			reading: this.conversation?.reading ?? false,
			loaded: client.sessions.loaded,
			live: client.live,
			ready: client.may("drive") && client.agents.length > 0,
			may,
		});
		const { known, loaded } = client.sessions;
		const told = JSON.stringify([this.status, loaded, known.size > 0]);
		if (told === this.told || !loaded) return;
		this.told = told;
		this.pane.replaceChildren(welcomeView(this.status, known.size));
		const isNeeded = !known.size || missing(this.status).length > 0;
		this.list.welcome.replaceChildren(...(isNeeded ? [welcomeView(this.status, known.size)] : []));
	}

	/** @param {Client} client */
	#heading(client) {
		const { open } = client;
		const journal = open?.journal;
		this.shell.more.hidden = !open;
		if (!open || !journal) this.shell.head("BuilderOS", "");
		else {
			const others = new Set(journal.devices.map((one) => one.device_id)).size;
			const words = [journal.agent, journal.state, others > 1 ? `${others} devices` : ""];
			this.shell.head(journal.title || open.id, open.shown ? words.filter(Boolean).join(" · ") : "");
		}
	}

	/** @param {Client} client */
	#connection(client) {
		const behind = client.live && client.open?.shown ? client.open.journal.behind : 0;
		const now = performance.now();
		this.lagSince = behind ? this.lagSince || now : 0;
		const told = behind && now - this.lagSince >= LAG_MS;
		if (behind && !told) setTimeout(() => this.#draw("status"), LAG_MS);
		this.shell.connection(connectionText({ live: client.live, behind: told ? behind : 0, networkSeen: navigator.onLine }));
	}

	// ---- what the person does ----

	#create() {
		const { client } = this;
		if (client) newSession(client.agents, (agent, settings) => this.#make(`s-${randomHex(6)}`, agent, settings));
	}

	/** @param {string} id @param {string} agent @param {Record<string, string>} settings */
	#make(id, agent, settings) {
		this.making = { id, agent, ...(Object.keys(settings).length ? { settings } : {}) };
		if (this.client?.open?.id === id) this.client.closeSession();
		if (location.hash === `#/s/${id}`) this.route();
		else location.hash = `#/s/${id}`;
	}

	/** @type {{id: string, agent: string, settings?: Record<string, string>} | undefined} the session that is being made */
	making = undefined;

	#details() {
		const open = this.client?.open;
		if (open) sessionDetails(open, (text) => this.shell.say(text), () => (location.hash = "#/"));
	}

	/** Forget everything here. */
	async #signOut() {
		await this.#leave("");
		await this.store.clear("outbox").catch(() => {});
	}

	/** Forget the key and what was read. What was not sent stays for whoever signs in again. @param {string} trouble */
	async #leave(trouble) {
		this.client?.stop();
		this.client = null;
		forgetAll();
		history.replaceState(null, "", "/#/");
		this.askForKey(trouble);
		await this.store.clear("kept").catch(() => {});
	}

	// ---- what happens around it ----

	wake() {
		this.client?.connection.wake();
		this.#draw("status", "session");
	}

	networkGone() {
		this.client?.connection.networkGone();
		this.#draw("status");
	}

	/** @param {boolean} now */
	visible(now) {
		if (now) this.wake();
		else this.client?.open?.keep();
	}

	updated() {
		this.shell.say("There is a new version: reload the page to use it.");
	}
}
