// Creates elements. Text always becomes a text node, so an agent's text is never parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Shown if a part of the page could not be loaded. The next press tries again. */
export const NOT_LOADED = "Couldn't load this part of the page. Check the connection and try again.";

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Create an element: its tag, with classes after dots; its attributes, if any; its content. Names that begin with "on" are
 * listeners. true is an empty attribute; null, undefined and false are left out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K | `${K}.${string}`} tag
 * @param {Record<string, any> | Child} [first]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, first, ...children) {
	const [name, ...classes] = tag.split(".");
	const made = document.createElement(/** @type {K} */ (name));
	if (classes.length) made.className = classes.join(" ");
	const bare = typeof first === "string" || first instanceof Node || !first;
	for (const [name, value] of Object.entries(bare ? {} : first)) {
		if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
		else if (value === true) made.setAttribute(name, "");
		else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, String(value));
	}
	for (const child of bare ? [first, ...children] : children) if (child) made.append(child);
	return made;
}

/** @type {Record<string, string>} */
const ICONS = {
	back: "M15 5l-7 7 7 7",
	send: "M12 19V5M6 11l6-6 6 6",
	stop: "M7.5 7.5h9v9h-9z",
	clip: "M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7l-8.5 8.4a1.6 1.6 0 0 1-2.3-2.3L14.5 7",
	mic: "M12 4a2.5 2.5 0 0 1 2.5 2.5v5a2.5 2.5 0 0 1-5 0v-5A2.5 2.5 0 0 1 12 4zM6 11.5a6 6 0 0 0 12 0M12 17.5v3",
	more: "M5 12h.01M12 12h.01M19 12h.01",
	plus: "M12 5v14M5 12h14",
	down: "M12 5v14M6 13l6 6 6-6",
	close: "M6 6l12 12M18 6L6 18",
	speak: "M5 10v4h3l4 4V6l-4 4zM16 9a4 4 0 0 1 0 6M18.5 6.5a8 8 0 0 1 0 11",
	copy: "M9 9h10v11H9zM5 15V4h10",
	gear: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM4 12h2M18 12h2M12 4v2M12 18v2M6.3 6.3l1.4 1.4M16.3 16.3l1.4 1.4M6.3 17.7l1.4-1.4M16.3 7.7l1.4-1.4",
	leave: "M10 5H6a1 1 0 0 0-1 1v12a1 1 0 0 0 1 1h4M15 8l4 4-4 4M19 12H10",
	search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM20 20l-4-4",
	phone: "M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2",
};

/**
 * Create an icon that is hidden from screen readers. The button around it has the name.
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
	const drawing = document.createElementNS(SVG, "svg");
	drawing.setAttribute("viewBox", "0 0 24 24");
	drawing.setAttribute("class", "icon");
	drawing.setAttribute("aria-hidden", "true");
	const line = document.createElementNS(SVG, "path");
	line.setAttribute("d", ICONS[name] ?? "");
	drawing.append(line);
	return drawing;
}

/**
 * Create a button with an icon, and with a name for screen readers.
 * @param {string} name @param {string} drawing @param {(event: Event) => void} act @param {string} [kind]
 */
export function iconButton(name, drawing, act, kind = "") {
	return el(
		"button",
		{ type: "button", class: `round ${kind}`, "aria-label": name, title: name, onclick: act },
		icon(drawing),
	);
}

/** @param {string} label @param {(event: Event) => void} act @param {string} [kind] */
export function button(label, act, kind = "") {
	return el("button", { type: "button", class: kind, onclick: act }, label);
}

/**
 * @param {string} label @param {HTMLElement} control @param {string} [hint]
 */
export function field(label, control, hint) {
	control.id = `field-${label.toLowerCase().replace(/\W+/g, "-")}`;
	return el("div.field", el("label", { for: control.id }, label), control, hint ? el("small", hint) : null);
}

/**
 * Put text into a node only if it differs, so that a live region stays quiet.
 * @param {Element} node @param {string} text
 */
export function setText(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

/**
 * Set an attribute only if it differs.
 * @param {Element} node @param {string} name @param {string} value
 */
export function setAttr(node, name, value) {
	if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** @type {Promise<void> | undefined} */
let styled;

/** Load the styles of parts that are not in the first page. @returns {Promise<void>} */
export function moreStyles() {
	styled ??= new Promise((resolve) => {
		const link = el("link", {
			rel: "stylesheet",
			href: "/css/more.css",
			onload: () => resolve(),
			onerror: () => resolve(),
		});
		document.head.append(link);
	});
	return styled;
}

/** @param {string} text @returns {Promise<boolean>} false if the browser does not let this page copy: it does over HTTPS only */
export async function copyText(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		return false;
	}
}

/** @type {Intl.DateTimeFormatOptions} */
const clock = { hour: "2-digit", minute: "2-digit" };
/** @type {Intl.DateTimeFormatOptions} */
const day = { day: "numeric", month: "short" };
// Created once: a browser takes long to create one.
const TIME = new Intl.DateTimeFormat([], clock);
const DAY = new Intl.DateTimeFormat([], day);
const DAY_AND_TIME = new Intl.DateTimeFormat([], { ...day, ...clock });

/** @param {string} iso */
export function clockTime(iso) {
	const at = new Date(iso);
	if (Number.isNaN(at.getTime())) return "";
	const today = new Date().toDateString() === at.toDateString();
	return (today ? TIME : DAY_AND_TIME).format(at);
}

/** How long ago something was, in one or two words. @param {string} iso @param {number} [now] */
export function ago(iso, now = Date.now()) {
	const minutes = Math.floor((now - Date.parse(iso)) / 60_000);
	if (Number.isNaN(minutes)) return "";
	if (minutes < 1) return "now";
	if (minutes < 60) return `${minutes} min`;
	if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h`;
	return minutes < 7 * 24 * 60 ? `${Math.floor(minutes / 1440)} d` : DAY.format(new Date(iso));
}

/** @param {number} ms */
export function lasted(ms) {
	if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
	const seconds = Math.floor(ms / 1000);
	if (seconds < 60) return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${seconds} s`;
	const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
	const minutes = Math.floor(seconds / 60);
	return minutes < 60
		? `${minutes}:${two(seconds % 60)}`
		: `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}

/** @param {number} bytes */
export function sizeText(bytes) {
	if (bytes < 1000) return `${bytes} B`;
	return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
