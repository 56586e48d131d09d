// Addresses. A secret for signing in leaves the address bar before anything else happens.

/** @typedef {{view: "list"} | {view: "session", id: string, at: number}} Route */

/** @param {string} hash @returns {Route} */
export function routeOf(hash) {
	const found = /^#\/s\/([A-Za-z0-9._-]{1,128})(?:\?at=(\d{1,15}))?$/.exec(hash);
	return found ? { view: "session", id: found[1] ?? "", at: Number(found[2] ?? 0) } : { view: "list" };
}

/** Whether a session's id has the form of the iOS app's own. @param {string} id */
export function isOwnId(id) {
	return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-(claude|codex)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(
		id,
	);
}

/** Take a secret out of the address: a key, or a code for one. @returns {{kind: "key" | "pair", secret: string} | null} */
export function takeSecret() {
	const found = /^#(key|pair)=(.*)$/.exec(location.hash);
	if (!found) return null;
	history.replaceState(null, "", "/#/");
	let secret = found[2] ?? "";
	try {
		secret = decodeURIComponent(secret);
	} catch {
		// use it as it is
	}
	return { kind: found[1] === "pair" ? "pair" : "key", secret: secret.trim() };
}

/** Close any open dialog: the page shows something else. */
export function closeDialogs() {
	for (const one of document.querySelectorAll("dialog")) one.close();
}

/** The page's present history entry if it belongs to a dialog (views/dialogs.js); else 0. */
export const here = { sheet: 0 };

/** Go to an address. The history entry of an open dialog becomes that of the new page (views/dialogs.js). @param {string} hash */
export function goTo(hash) {
	if (location.hash !== hash && !history.state?.sheet) {
		location.hash = hash;
		return;
	}
	here.sheet = 0;
	history.replaceState(null, "", hash); // synchronous in every engine, and so before the dialog's own end
	dispatchEvent(new Event("hashchange"));
}
