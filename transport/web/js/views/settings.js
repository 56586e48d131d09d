// Settings of this browser and of the server as a whole: appearance, devices, shortcuts, signing out.

import { button, clockTime, el, field } from "../dom.js";
import { recall } from "../identity.js";
import { SCOPES } from "../names.js";
import { confirmed, openDialog } from "./dialogs.js";
import { notifications } from "./notifications.js";

export const SHORTCUTS = [
	["Ctrl K or ⌘ K", "Go to a session or do something"],
	["N", "New session"],
	["/", "Search"],
	["M", "Write a message"],
	["J and K", "Next and previous message"],
	["?", "This list"],
];

/** @param {Client} client @param {{theme: (name: string) => void, pair: () => void, signOut: () => void, say: (text: string) => void}} acts */
export function settings(client, acts) {
	const theme = el(
		"select",
		...["System", "Light", "Dark"].map((one) => el("option", { value: one.toLowerCase() }, one)),
	);
	theme.value = recall("theme") ?? "system";
	theme.onchange = () => acts.theme(theme.value);
	const devices = el("div");
	const admin = client.may("admin");
	const dialog = openDialog(
		"Settings",
		field("Theme", theme),
		el("p.label", "Notifications"),
		notifications(client, acts.say),
		admin ? el("p.label", "Devices") : null,
		admin ? devices : null,
		el("details", el("summary", "Keyboard shortcuts"), shortcutList()),
		el(
			"div.choice",
			admin ? button("Pair another device", () => (dialog.close(), acts.pair())) : null,
			button("Sign out of this device", () => (dialog.close(), acts.signOut()), "danger"),
		),
	);
	if (admin) drawDevices(devices, client, acts.say);
}

export function shortcutList() {
	return el(
		"dl.shortcuts",
		...SHORTCUTS.flatMap(([keys, what]) => [el("dt", el("kbd", keys ?? "")), el("dd", what ?? "")]),
	);
}

export function shortcuts() {
	openDialog("Keyboard shortcuts", shortcutList());
}

/** @param {HTMLElement} at @param {Client} client @param {(text: string) => void} say */
async function drawDevices(at, client, say) {
	try {
		const { devices } = await client.api.json("/api/devices");
		const rows = devices.map((/** @type {any} */ one) => {
			const remove = button("Remove", () => forget(at, client, one, say), "quiet");
			remove.setAttribute("aria-label", `Remove ${one.name}`);
			const facts = `${SCOPES[one.scope] ?? one.scope} · since ${clockTime(one.created_at)}`;
			return el(
				"li",
				el("span", el("b", one.name), el("small", ` ${facts}`)),
				one.id === client.deviceKey ? el("small", "this device") : remove,
			);
		});
		at.replaceChildren(el("ul.grants", ...rows));
		drawDelays(at, client);
	} catch (error) {
		at.replaceChildren(el("p.hint", error instanceof Error ? error.message : "Something went wrong."));
	}
}

/** Add how fast events are on each connected device, if the server says so. @param {HTMLElement} at @param {Client} client */
async function drawDelays(at, client) {
	const told = await client.api.json("/api/delays").catch(() => null);
	const here = (told?.devices ?? []).filter((/** @type {any} */ one) => one.connections);
	if (!here.length) return;
	const rows = here.map((/** @type {any} */ one) =>
		el("li", el("span", el("b", one.device_id), el("small", ` ${delayWords(one)}`))),
	);
	at.append(el("details.delays", el("summary", "Delays"), el("ul.grants", ...rows)));
}

/** @param {any} one */
function delayWords({ written, painted, behind, waiting_bytes: waiting, reconnects }) {
	const ms = (/** @type {{p50_ms: number, p95_ms: number}} */ one) =>
		`${Math.round(one.p50_ms)} ms, 95 % within ${Math.round(one.p95_ms)} ms`;
	const words = [
		painted ? `shown after ${ms(painted)}` : written ? `sent after ${ms(written)}` : "nothing sent yet",
		behind ? `${behind} events behind` : "",
		waiting ? `${waiting} bytes wait` : "",
		reconnects ? `${reconnects} ${reconnects === 1 ? "reconnect" : "reconnects"}` : "",
	];
	return words.filter(Boolean).join(" · ");
}

/** @param {HTMLElement} at @param {Client} client @param {any} device @param {(text: string) => void} say */
async function forget(at, client, device, say) {
	if (!(await confirmed(`${device.name} is signed out and can't use this server any more.`, "Remove"))) return;
	try {
		await client.api.fetch(`/api/devices/${encodeURIComponent(device.id)}`, { method: "DELETE" });
	} catch (error) {
		say(error instanceof Error ? error.message : "Something went wrong.");
	}
	drawDevices(at, client, say);
}
