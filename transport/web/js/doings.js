// Actions besides reading and writing. Each opens a part of the page that is loaded at first use.

import { randomHex } from "./identity.js";
import { goTo } from "./router.js";
import { showChanges } from "./views/changes.js";
import { newSession } from "./views/creation.js";
import { sessionDetails } from "./views/details.js";
import { confirmed } from "./views/dialogs.js";
import * as views from "./views/settings.js";
import { pairDevice } from "./views/pair.js";
import { palette as openPalette } from "./views/palette.js";

/** @typedef {import("./app.js").App} App */

/** @param {App} app @param {Client} client */
export function create(app, client) {
	if (app.list.create.disabled) return;
	newSession(client, app.agents(client), (agent, settings) => app.make(`s-${randomHex(6)}`, agent, settings));
}

/** @param {App} app @param {Client} client */
export function details(app, client) {
	if (client.open)
		sessionDetails(
			client.open,
			(text) => app.shell.say(text),
			() => goTo("#/"),
		);
}

/** @param {App} app @param {Client} client */
export function settings(app, client) {
	views.settings(client, {
		theme: (name) => app.theme(name),
		pair: () => pairDevice(client.api),
		signOut: () => signOut(app, client),
		say: (text) => app.shell.say(text),
	});
}

/** @param {App} app @param {Client} client */
export async function desk(app, client) {
	const { deskDialog } = await import("./views/desk.js");
	deskDialog(client, (text) => app.shell.say(text));
}

/** @param {App} _ @param {Client} client */
export function pair(_, client) {
	pairDevice(client.api);
}

export function shortcuts() {
	views.shortcuts();
}

/** @param {App} app @param {Client} client */
export function palette(app, client) {
	if (document.querySelector("dialog[open]")) return;
	const { open } = client;
	openPalette(client.sessions.list, [
		{ name: "New session", hint: "N", act: () => create(app, client) },
		...(open ? [{ name: "Details of this session", hint: "", act: () => details(app, client) }] : []),
		...(open ? [{ name: "Changes of this session", hint: "", act: () => showChanges(open, null) }] : []),
		...(open?.journal.turn ? [{ name: "Stop this turn", hint: "", act: () => open.interrupt() }] : []),
		...(client.may("drive") ? [{ name: "On this computer", hint: "", act: () => desk(app, client) }] : []),
		{ name: "All sessions", hint: "", act: () => goTo("#/") },
		...(client.may("admin") ? [{ name: "Pair a device", hint: "", act: () => pair(app, client) }] : []),
		{ name: "Settings", hint: "", act: () => settings(app, client) },
		{ name: "Keyboard shortcuts", hint: "?", act: shortcuts },
	]);
}

/** An older address has a session's id of the iOS app. The server answers with the present id. @param {Client} client @param {string} id */
export async function toAlias(client, id) {
	try {
		const told = await client.api.json(`/api/sessions/${id}/messages?limit=1`);
		location.replace(`#/s/${told.session_id}`);
	} catch {
		location.replace("#/");
	}
}

/** Sign out. Unsent messages would be lost, so ask first. @param {App} app @param {Client} client */
export async function signOut(app, client) {
	const waits = client.outbox.messages.length > 0;
	if (!waits || (await confirmed("Messages that wait to be sent are lost if you sign out now.", "Sign out")))
		app.signOut();
}
