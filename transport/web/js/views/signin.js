// Signing in: a key typed or pasted, or one that a link brought.

import { el } from "../dom.js";
import { field } from "./dialogs.js";

/** The longest wait for the server's word on a key, in milliseconds. */
const LIMIT_MS = 10_000;

/**
 * Ask the server what a key is worth.
 * @param {string} key
 * @returns {Promise<"good" | "bad" | "unreached">}
 */
export async function tryKey(key) {
	const stop = new AbortController();
	const timer = setTimeout(() => stop.abort(), LIMIT_MS);
	try {
		const headers = { "X-API-Key": key };
		const answer = await fetch("/api/status", { headers, cache: "no-store", signal: stop.signal });
		await answer.arrayBuffer(); // a body that nobody reads keeps its connection open
		return answer.ok ? "good" : answer.status === 401 || answer.status === 400 ? "bad" : "unreached";
	} catch {
		return /[^\x20-\x7e]/.test(key) ? "bad" : "unreached"; // such a key cannot even be sent in a header
	} finally {
		clearTimeout(timer);
	}
}

/**
 * Turn the code of a link into a key of this browser's own.
 * @param {string} code
 * @returns {Promise<{key: string} | {trouble: string}>}
 */
export async function redeem(code) {
	try {
		const headers = { "X-API-Key": code, "Content-Type": "application/json" };
		const answer = await fetch("/api/pair", { method: "POST", headers, body: "{}", cache: "no-store" });
		if (answer.ok) return { key: (await answer.json()).key };
		return { trouble: "This link is used up or too old. Make another one." };
	} catch {
		return { trouble: "The server was not reached. Open the link again." };
	}
}

/**
 * @param {(key: string) => void} signedIn
 * @param {string} [trouble] why the person has to sign in again
 */
export function signInView(signedIn, trouble = "") {
	const key = el("input", {
		type: "text",
		class: "secret",
		name: "key",
		autocomplete: "off",
		autocapitalize: "none",
		autocorrect: "off",
		spellcheck: "false",
		required: true,
	});
	const alert = el("p", { role: "alert" }, trouble);
	const go = el("button.primary", "Sign in");
	const form = el(
		"form.signin",
		el("h2", "Sign in"),
		el("p", "Talk to your coding agents from every device."),
		field("Key", key),
		alert,
		go,
		el("p.hint", "The server prints the key at its first start and keeps it in the file api-key of its data folder. Or pair this device by a link from another one."),
	);
	form.onsubmit = async (event) => {
		event.preventDefault();
		const given = key.value.trim();
		if (!given) return;
		go.disabled = true;
		const worth = await tryKey(given);
		go.disabled = false;
		if (worth === "good") return signedIn(given);
		alert.textContent = worth === "bad" ? "This key is not valid." : "The server was not reached. Try again.";
		key.focus();
		key.select();
	};
	return form;
}
