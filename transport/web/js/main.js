// The start: who this is, which page, and what wakes the connection.

import { App } from "./app.js";
import { recall } from "./identity.js";
import { takeSecret } from "./router.js";
import { Store } from "./store.js";
import { redeem } from "./views/signin.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const secret = takeSecret();
const store = await Store.open().catch((error) => {
	root.textContent = "This browser keeps nothing for this page, which it needs for messages on their way. Allow it to, and load the page again.";
	throw error;
});
const app = new App(root, store);

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

/** iOS lays the keyboard over the page; the part that is left is where everything must fit. */
function fit() {
	const view = window.visualViewport;
	if (!view || view.scale > 1.05) return;
	document.documentElement.style.setProperty("--height", `${view.height}px`);
	if (view.offsetTop) window.scrollTo(0, 0);
}
window.visualViewport?.addEventListener("resize", fit);
fit();

document.addEventListener("visibilitychange", () => app.visible(document.visibilityState === "visible"));
window.addEventListener("pageshow", (event) => event.persisted && app.wake());
window.addEventListener("pagehide", () => app.visible(false));
window.addEventListener("online", () => app.wake());
window.addEventListener("offline", () => app.networkGone());
window.addEventListener("hashchange", () => {
	const late = takeSecret();
	if (late?.kind === "key") app.tryToSignIn(late.secret);
	else if (late) redeem(late.secret).then((told) => ("key" in told ? app.signIn(told.key) : app.shell.say(told.trouble)));
	else app.route();
});

if ("serviceWorker" in navigator) {
	navigator.serviceWorker.register("/sw.js", { scope: "/" }).catch(() => {}); // no app without a network, then
	navigator.serviceWorker.addEventListener("message", (event) => event.data === "updated" && app.updated());
}
