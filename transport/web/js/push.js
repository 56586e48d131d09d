// Notifications of this browser: turning them on and off, keeping the server's list right, closing settled cards.

import { deviceId, recall, remember } from "./identity.js";

/** Texts for a browser that cannot be notified. */
export const HOME_SCREEN =
	"On an iPhone or iPad, add this page to the Home Screen first: press Share, then Add to Home Screen, and open it there.";
const INSECURE = "Notifications need HTTPS. Open this page by an address that begins with https://.";
const UNKNOWN = "This browser can't be notified.";
const DENIED = "Notifications are blocked for this page. Allow them in the browser's settings for it.";
const NO_PACKAGES = "The server lacks the packages for notifications. Run make install there and restart it.";

/** Why this browser cannot be notified; "" if it can. */
export function obstacle() {
	if (!isSecureContext) return INSECURE;
	if (!("PushManager" in window && "Notification" in window && "serviceWorker" in navigator)) {
		return /iPhone|iPad|Macintosh.*Mobile/.test(navigator.userAgent) && !(/** @type {any} */ (navigator).standalone)
			? HOME_SCREEN
			: UNKNOWN;
	}
	return Notification.permission === "denied" ? DENIED : "";
}

async function subscription() {
	return (await navigator.serviceWorker.ready).pushManager.getSubscription();
}

/** Subscribe, and send the subscription to the server. @param {Client} client @param {string} key the server's @returns {Promise<string>} the channel's id */
async function subscribe(client, key) {
	const { pushManager } = await navigator.serviceWorker.ready;
	let found = await pushManager.getSubscription();
	if (found && told(found) !== key) {
		await found.unsubscribe(); // it belongs to another server's key
		found = null;
	}
	found ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
	await client.store.put("me", { key: client.api.key, device: deviceId() });
	const body = { platform: "web", device_id: deviceId(), subscription: found.toJSON(), origin: location.origin };
	const { id } = await client.api.json("/api/notifications/register", { method: "POST", body });
	remember("notify", id);
	return id;
}

/** The server's key of a subscription. @param {PushSubscription} found */
function told(found) {
	const bytes = new Uint8Array(found.options?.applicationServerKey ?? new ArrayBuffer(0));
	return btoa(String.fromCharCode(...bytes))
		.replace(/\+/g, "-")
		.replace(/\//g, "_")
		.replace(/=+$/, "");
}

/** Ask the person, then subscribe. Call it in a user gesture. @param {Client} client */
export async function turnOn(client) {
	const wanted = Notification.requestPermission();
	const { application_server_key: key } = await client.api.json("/api/notifications");
	if (!key) throw new Error(NO_PACKAGES);
	if ((await wanted) !== "granted") throw new Error(DENIED);
	return subscribe(client, key);
}

/** @param {Client} client */
export async function turnOff(client) {
	const id = recall("notify");
	remember("notify", null);
	await client.store.drop("me");
	await (await subscription())?.unsubscribe();
	if (id) await client.api.fetch(`/api/notifications/${id}`, { method: "DELETE" }).catch(() => {}); // it is already gone
}

/** Nobody is signed in here any more. */
export async function leave() {
	await (await subscription())?.unsubscribe();
	for (const card of await (await navigator.serviceWorker.ready).getNotifications()) card.close();
}

/** At each connection: subscribe again if the server or the browser has lost it, and close settled cards. @param {Client} client */
export async function refresh(client) {
	if (obstacle() || Notification.permission !== "granted") return;
	const { application_server_key: key, channels } = await client.api.json("/api/notifications");
	const own = channels.find((/** @type {any} */ one) => one.id === recall("notify"));
	const found = await subscription();
	if (key && (!own || own.state !== "live" || !found || told(found) !== key)) await subscribe(client, key);
	const cards = await (await navigator.serviceWorker.ready).getNotifications();
	if (!cards.length) return;
	const { alerts } = await client.api.json("/api/notifications/why?limit=100");
	for (const one of alerts) if (one.settled_at) await settled(client, one.alert_id);
}

/** Close the card of an alert that has been settled. @param {Client} client @param {string} alertId */
export async function settled(client, alertId) {
	const cards = await (await navigator.serviceWorker.ready).getNotifications({ tag: `a-${alertId}` });
	if (!cards.length) return;
	for (const card of cards) card.close();
	const body = { alert_id: alertId, what: "closed", channel: recall("notify") };
	await client.api.fetch("/api/notifications/seen", { method: "POST", body }).catch(() => {}); // then the card is replaced
}
