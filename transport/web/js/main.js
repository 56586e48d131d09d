// The start: identity, first page, and the events that wake the connection.

import { App } from "./app.js";
import { recall, setTheme } from "./identity.js";
import { takeSecret } from "./router.js";
import { Store } from "./store.js";
import { redeem } from "./views/signin.js";
import { fitToScreen } from "./viewport.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const dark = matchMedia("(prefers-color-scheme: dark)");
setTheme(dark.matches);
dark.addEventListener("change", () => setTheme(dark.matches));
// Before anything is drawn, so that the height is laid out once.
fitToScreen();
const secret = takeSecret();
const app = new App(root, await Store.open());

if (secret?.kind === "pair") {
	const told = await redeem(secret.secret);
	if ("key" in told) app.signIn(told.key);
	else if (recall("key")) {
		app.begin();
		app.shell.say(told.trouble);
	} else app.askForKey(told.trouble);
} else if (secret) {
	await app.tryToSignIn(secret.secret);
} else {
	app.begin();
}

document.addEventListener("visibilitychange", () => app.visible(document.visibilityState === "visible"));
for (const name of ["pointerdown", "keydown", "wheel", "touchmove"])
	addEventListener(name, () => app.client?.used(), { capture: true, passive: true });
window.addEventListener("pageshow", (event) => event.persisted && app.wake());
window.addEventListener("pagehide", () => app.visible(false));
window.addEventListener("online", () => app.wake());
window.addEventListener("offline", () => app.networkGone());
window.addEventListener("hashchange", () => {
	const late = takeSecret();
	if (late?.kind === "key") app.tryToSignIn(late.secret);
	else if (late)
		redeem(late.secret).then((told) => ("key" in told ? app.signIn(told.key) : app.shell.say(told.trouble)));
	else app.route();
});

if ("serviceWorker" in navigator) {
	navigator.serviceWorker.register("/sw.js", { scope: "/" }).catch(() => {}); // then the app does not work without a network
	navigator.serviceWorker.addEventListener("message", (event) => event.data === "updated" && app.updated());
	const tell = async () => (await navigator.serviceWorker.ready).active?.postMessage("rest");
	const idle = window.requestIdleCallback ?? ((/** @type {() => void} */ act) => setTimeout(act, 500));
	idle(() => tell());
}

// Not among the first files: a phone has no keyboard. Without a network they come with the next start.
const keys = await import("./keys.js").catch(() => null);
keys?.listenForKeys({
	palette: () => app.do("palette"),
	create: () => app.do("create"),
	search: () => app.list.query.focus(),
	write: () => app.conversation?.composer.text.focus(),
	next: () => app.conversation?.log.step(1),
	previous: () => app.conversation?.log.step(-1),
	help: () => app.do("shortcuts"),
});
