// Who this browser is: its key, its device_id, and small things it remembers. All of it in localStorage.

const PREFIX = "builderos.";

/** @param {string} name */
export function recall(name) {
	try {
		return localStorage.getItem(PREFIX + name);
	} catch {
		return null; // storage is switched off: the page works for as long as it is open
	}
}

/** @param {string} name @param {string | null} value */
export function remember(name, value) {
	try {
		if (value === null) localStorage.removeItem(PREFIX + name);
		else localStorage.setItem(PREFIX + name, value);
	} catch {
		// full or switched off: nothing here is worth more than a convenience
	}
}

/** Forget everything but the device_id, which says nothing of what was read or written here. @param {boolean} [drafts] whether drafts stay */
export function forgetAll(drafts = false) {
	try {
		for (const name of Object.keys(localStorage)) {
			const stays = name === `${PREFIX}device_id` || (drafts && name.startsWith(`${PREFIX}draft.`));
			if (name.startsWith(PREFIX) && !stays) localStorage.removeItem(name);
		}
		sessionStorage.clear();
	} catch {
		// nothing was kept
	}
}

/** Show the theme that the person chose, or the system's. @param {boolean} dark whether the system's is dark */
export function setTheme(dark) {
	document.documentElement.dataset.theme = recall("theme") ?? (dark ? "dark" : "light");
}

/** Random hex digits; also where the page has no secure context. @param {number} bytes */
export function randomHex(bytes) {
	return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (one) => one.toString(16).padStart(2, "0")).join("");
}

/** A word for the browser and what it runs on, so that people tell devices apart. */
function flavour() {
	const agent = navigator.userAgent;
	const kinds = ["iPhone", "iPad", "Android", "Macintosh", "Windows", "Linux"];
	const browsers = [["Edg/", "edge"], ["Firefox/", "firefox"], ["Chrom", "chrome"], ["Safari/", "safari"]];
	const kind = (kinds.find((one) => agent.includes(one)) ?? "web").toLowerCase().replace("macintosh", "mac");
	const browser = browsers.find(([mark]) => agent.includes(mark ?? ""))?.[1] ?? "web";
	return `${kind}-${browser}`;
}

let own = "";

/** This profile's device_id, made once. */
export function deviceId() {
	own = recall("device_id") || own || renewDeviceId();
	return own;
}

/** Take another device_id: the old one belongs to a key that this browser had before. */
export function renewDeviceId() {
	own = `${flavour()}-${randomHex(4)}`;
	remember("device_id", own);
	return own;
}
