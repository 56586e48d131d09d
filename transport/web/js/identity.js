// The identity of this browser: its key, its device_id, and small things to remember. All of it is in localStorage.

const PREFIX = "builderos.";

/** @param {string} name */
export function recall(name) {
	try {
		return localStorage.getItem(PREFIX + name);
	} catch {
		return null; // storage is off: the page works as long as it is open
	}
}

/** @param {string} name @param {string | null} value */
export function remember(name, value) {
	try {
		if (value === null) localStorage.removeItem(PREFIX + name);
		else localStorage.setItem(PREFIX + name, value);
	} catch {
		// full or off: everything here is only a convenience
	}
}

/** Delete everything except the device_id, which reveals nothing of what was read or written here. @param {boolean} [drafts] whether drafts stay */
export function forgetAll(drafts = false) {
	try {
		for (const name of Object.keys(localStorage)) {
			const stays = name === `${PREFIX}device_id` || (drafts && name.startsWith(`${PREFIX}draft.`));
			if (name.startsWith(PREFIX) && !stays) localStorage.removeItem(name);
		}
		sessionStorage.clear();
	} catch {
		// nothing was stored
	}
}

/** Show the theme that the person chose, or the system's. @param {boolean} dark whether the system's is dark */
export function setTheme(dark) {
	document.documentElement.dataset.theme = recall("theme") ?? (dark ? "dark" : "light");
}

/** Random hex digits, even without a secure context. @param {number} bytes */
export function randomHex(bytes) {
	return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (one) => one.toString(16).padStart(2, "0")).join("");
}

/** A name for the browser and its system, so that people can distinguish devices. */
function flavour() {
	const agent = navigator.userAgent;
	const kinds = ["iPhone", "iPad", "Android", "Macintosh", "Windows", "Linux"];
	const browsers = [
		["Edg/", "edge"],
		["Firefox/", "firefox"],
		["Chrom", "chrome"],
		["Safari/", "safari"],
	];
	const kind = (kinds.find((one) => agent.includes(one)) ?? "web").toLowerCase().replace("macintosh", "mac");
	const browser = browsers.find(([mark]) => agent.includes(mark ?? ""))?.[1] ?? "web";
	return `${kind}-${browser}`;
}

let own = "";

/** This profile's device_id, created once. */
export function deviceId() {
	own = recall("device_id") || own || renewDeviceId();
	return own;
}

/** Take another device_id: the old one belongs to an earlier key of this browser. */
export function renewDeviceId() {
	own = `${flavour()}-${randomHex(4)}`;
	remember("device_id", own);
	return own;
}
