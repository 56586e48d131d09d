// What a person is writing, on several devices at once. A text typed here is never replaced. A text from another device
// appears in an untouched box; otherwise it is offered.

import { recall, remember } from "./identity.js";

/** Characters of a draft that other devices get. The server accepts no longer one. */
const MOST = 40_000;

export class Draft {
	/** @param {string} id of the session @param {(text: string) => boolean} tell the other devices; false if that is not possible now */
	constructor(id, tell) {
		this.name = `draft.${id}`;
		this.tell = tell;
		this.text = recall(this.name) ?? "";
		/** Whether this text was typed here and not taken from another device. */
		this.typed = this.text !== "";
		/** What the other devices last got from here; null if nothing. @type {string | null} */
		this.told = null;
		/** What another device wrote meanwhile; "" if there is nothing to offer. */
		this.offer = "";
	}

	/** The person changed the box. @param {string} text @returns {boolean} whether to send it to other devices */
	write(text) {
		if (text === this.text) return false;
		this.text = text;
		this.typed = text !== "";
		remember(this.name, text || null);
		return true;
	}

	/** Send the text to other devices if it is new. */
	publish() {
		if (this.text.length > MOST) return;
		if (this.text !== this.told && this.tell(this.text)) this.told = this.text;
	}

	/** After an attach: take the server's text. @param {string} text */
	begin(text) {
		if (this.typed && (text === "" || text === this.told)) this.publish();
		else this.take(text);
	}

	/** Another device wrote this. @param {string} text */
	take(text) {
		if (text === this.text) this.offer = "";
		else if (this.typed) this.offer = text;
		else this.#adopt(text);
	}

	/** Another device has sent this. @param {string} content */
	sent(content) {
		this.offer = "";
		if (this.text.trim() && this.text.trim() === content.trim()) this.#adopt("");
	}

	/** Put the offered text into the box. */
	accept() {
		const mine = this.text;
		this.#adopt(this.offer);
		this.typed = true;
		remember(this.name, this.text || null);
		this.offer = mine;
		this.publish();
	}

	decline() {
		this.offer = "";
		this.told = null;
		this.publish();
	}

	/** @param {string} text */
	#adopt(text) {
		this.text = text;
		this.typed = false;
		this.told = text;
		this.offer = "";
		remember(this.name, null);
	}
}
