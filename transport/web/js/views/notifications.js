// Notifications in the settings: on and off, what is notified, a test, and why something was or was not notified.

import { button, clockTime, el } from "../dom.js";
import { recall } from "../identity.js";
import { obstacle, turnOff, turnOn } from "../push.js";
import { sessionName } from "../names.js";

const SWITCHES = {
	decision: "When an agent waits for me",
	finished: "When an agent has finished",
	failed: "When a turn failed",
};
const KINDS = /** @type {Record<string, string>} */ ({
	decision: "Waits for a decision",
	finished: "Finished",
	failed: "Failed",
	unknown: "A message may be lost",
	background: "A background task ended",
	late: "A message for later is held",
});

/** @param {Client} client @param {(text: string) => void} say */
export function notifications(client, say) {
	const at = el("div.notifications");
	draw(at, client, say);
	return at;
}

/** @param {HTMLElement} at @param {Client} client @param {(text: string) => void} say */
async function draw(at, client, say) {
	/** @param {() => Promise<unknown>} act */
	const doing = (act) => async () => {
		try {
			await act();
		} catch (error) {
			say(error instanceof Error ? error.message : "Something went wrong.");
		}
		if (at.isConnected) draw(at, client, say);
	};
	const recent = el("details", el("summary", "Recent alerts"));
	recent.ontoggle = () => recent.open && drawAlerts(recent, client);
	const trouble = obstacle();
	const own = trouble ? undefined : await ownChannel(client);
	if (!own) {
		at.replaceChildren(
			trouble
				? el("p.hint", trouble)
				: button(
						"Turn on notifications",
						doing(() => turnOn(client)),
						"primary",
					),
			recent,
		);
		return;
	}
	const test = button("Send a test", async () => {
		test.disabled = true;
		const told = await client.api
			.json(`/api/notifications/${own.id}/test`, { method: "POST" })
			.catch((error) => ({ content: error.message }));
		test.disabled = false;
		say(told.sent ? "The push service took the test. It should show within seconds." : `Not sent: ${told.content}`);
	});
	const switches = Object.entries(SWITCHES).map(([name, words]) => {
		const box = el("input", { type: "checkbox", checked: own.wants[name] });
		box.onchange = doing(() =>
			client.api.fetch(`/api/notifications/${own.id}`, { method: "POST", body: { wants: { [name]: box.checked } } }),
		);
		return el("label.switch", box, ` ${words}`);
	});
	at.replaceChildren(
		...(own.problem ? [el("p", { role: "alert" }, own.problem)] : []),
		...switches,
		el(
			"div.choice",
			test,
			button(
				"Turn off notifications",
				doing(() => turnOff(client)),
			),
		),
		recent,
	);
}

/** @param {Client} client @returns {Promise<any>} */
async function ownChannel(client) {
	const id = recall("notify");
	if (!id) return undefined;
	try {
		return (await client.api.json("/api/notifications")).channels.find((/** @type {any} */ one) => one.id === id);
	} catch {
		return undefined; // only the server knows it
	}
}

/** @param {HTMLElement} at @param {Client} client */
async function drawAlerts(at, client) {
	const title = el("summary", "Recent alerts");
	try {
		const { alerts } = await client.api.json("/api/notifications/why?limit=20");
		const names = new Map(client.sessions.list.map((one) => [one.session_id, sessionName(one.title, one.session_id)]));
		const rows = alerts.map((/** @type {any} */ one) =>
			el(
				"li",
				el("b", `${names.get(one.session_id) ?? one.session_id}: ${KINDS[one.kind] ?? one.kind}`),
				el("small", ` ${clockTime(one.raised_at)}`),
				el(
					"ul",
					...one.deliveries.map((/** @type {any} */ sent) =>
						el("li", el("small", `${sent.device_id ?? "a removed device"}: ${sent.content}`)),
					),
				),
			),
		);
		at.replaceChildren(title, rows.length ? el("ul.alerts", ...rows) : el("p.hint", "There were none."));
	} catch (error) {
		at.replaceChildren(title, el("p.hint", error instanceof Error ? error.message : "Something went wrong."));
	}
}
