// Signing in: with a key that was typed or pasted, or with one from a link.

import { el, field } from "../dom.js";

/** The longest wait for the server's answer about a key, in milliseconds. */
const LIMIT_MS = 10_000;

/**
 * Ask the server whether a key is valid.
 * @param {string} key
 * @returns {Promise<"good" | "bad" | "unreached">}
 */
export async function tryKey(key) {
	const stop = new AbortController();
	const timer = setTimeout(() => stop.abort(), LIMIT_MS);
	try {
		const headers = { "X-API-Key": key };
		const answer = await fetch("/api/status", { headers, cache: "no-store", signal: stop.signal });
		await answer.arrayBuffer(); // a body that is never read keeps its connection open
		return answer.ok ? "good" : answer.status === 401 || answer.status === 400 ? "bad" : "unreached";
	} catch {
		return /[^\x20-\x7e]/.test(key) ? "bad" : "unreached"; // such a key cannot even be sent in a header
	} finally {
		clearTimeout(timer);
	}
}

/**
 * Exchange the code of a link for a key of this browser's own.
 * @param {string} code
 * @returns {Promise<{key: string} | {trouble: string}>}
 */
export async function redeem(code) {
	try {
		const headers = { "X-API-Key": code, "Content-Type": "application/json" };
		const answer = await fetch("/api/pair", { method: "POST", headers, body: "{}", cache: "no-store" });
		if (answer.ok) return { key: (await answer.json()).key };
		return { trouble: "This link has expired or was already used." };
	} catch {
		return { trouble: "Can't reach the server. Open the link again." };
	}
}

/** The content of the field: a key, a pairing code, or a link with either. @param {string} text @returns {{kind: "key" | "pair", secret: string}} */
export function readSecret(text) {
	const given = text.trim();
	const [, kind, secret] = /#(key|pair)=([^&\s]+)/.exec(given) ?? [];
	if (secret) return { kind: kind === "pair" ? "pair" : "key", secret: decoded(secret) };
	return { kind: /^[A-Za-z0-9_-]{32}$/.test(given) ? "pair" : "key", secret: given };
}

/** @param {string} text */
function decoded(text) {
	try {
		return decodeURIComponent(text);
	} catch {
		return text; // use it as it is
	}
}

/** Determine what was entered, and sign in with it. @param {string} text @returns {Promise<{key: string} | {trouble: string}>} */
async function enter(text) {
	const { kind, secret } = readSecret(text);
	if (kind === "pair") {
		const told = await redeem(secret);
		// A key that a person chose may look like a code.
		if ("key" in told || text.includes("#pair=")) return told;
	}
	const worth = await tryKey(secret);
	if (worth === "good") return { key: secret };
	return { trouble: worth === "bad" ? "This key is not valid." : "Can't reach the server. Try again." };
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
		placeholder: "Key, pairing code or link",
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
		el(
			"p.hint",
			"Find the key in ",
			el("code", "~/.builderos/api-key"),
			" on the computer that runs the server. Or open Pair a device on a device that is signed in, and scan its code or paste its link here.",
		),
	);
	if (/** @type {any} */ (navigator).standalone) {
		form.append(
			el(
				"p.hint",
				"An installed app keeps its own data: make a new pairing link for it, copy the link and paste it here.",
			),
		);
	}
	form.onsubmit = async (event) => {
		event.preventDefault();
		const given = key.value.trim();
		if (!given) return;
		go.disabled = true;
		const told = await enter(given);
		go.disabled = false;
		if ("key" in told) return signedIn(told.key);
		alert.textContent = told.trouble;
		key.focus();
		key.select();
	};
	return form;
}
