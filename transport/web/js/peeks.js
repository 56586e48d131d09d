// Previews in the inbox of sessions that wait for a person: what they ask, so that it can be answered there.

import { asked } from "./entries.js";
import { drawNeeds } from "./views/needs.js";

/** Most sessions with a preview at the same time. */
const MOST = 5;

/** @typedef {{id: string, agent: string, pending: Map<string, Asked>}} Peek */

export class Peeks {
	/** @param {Client} client @param {() => void} changed */
	constructor(client, changed) {
		this.client = client;
		this.changed = changed;
		/** @type {Map<string, Peek>} */
		this.known = new Map();
	}

	/** Open previews of exactly these. @param {string[]} ids */
	want(ids) {
		const { client } = this;
		if (!client.live || !client.may("approve")) return;
		const wanted = ids.slice(0, MOST);
		for (const id of [...this.known.keys()]) if (!wanted.includes(id)) this.#drop(id);
		for (const id of wanted) {
			if (this.known.has(id) || client.open?.id === id) continue;
			this.known.set(id, { id, agent: "", pending: new Map() });
			client.connection.send(client.attachFrame(id, { history: 0, html: false }));
		}
	}

	/** @param {string} id */
	#drop(id) {
		this.known.delete(id);
		if (this.client.open?.id === id || !this.client.attached.delete(id)) return;
		this.client.connection.send({ type: "detach", session_id: id });
	}

	/** Draw what a session asks, below its row. @param {HTMLElement} at @param {string} id @param {boolean} open */
	draw(at, id, open) {
		const peek = open ? undefined : this.known.get(id);
		if (!peek?.pending.size) {
			at.hidden = true;
			at.replaceChildren();
			delete at.dataset.request;
			return;
		}
		drawNeeds(at, peek, (request, decision) =>
			this.client.connection.send({ type: "decide", session_id: id, request_id: request.id, decision }),
		);
	}

	/** The connection is new: nothing is attached. */
	reset() {
		this.known.clear();
	}

	/** @param {Frame} frame */
	frame(frame) {
		const peek = this.known.get(frame.session_id);
		if (!peek) return;
		if (frame.type === "attached") {
			peek.agent = frame.agent_type;
			peek.pending = new Map((frame.pending ?? []).map((/** @type {any} */ one) => [one.request_id, asked(one)]));
		} else if (frame.type === "permission_requested") peek.pending.set(frame.request_id, asked(frame));
		else if (frame.type === "permission_resolved") peek.pending.delete(frame.request_id);
		else return;
		this.changed();
	}
}
