// The last check of rendered answers. The server has already sanitised them. Only elements and attributes of a fixed list are
// copied into the page, so a mistake in the server appears as missing colour and never as foreign script.

const TAGS = new Set(
	(
		"a abbr b blockquote br caption code col colgroup dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img input ins kbd li mark ol p pre " +
		"s samp section small span strike strong sub summary sup table tbody td tfoot th thead tr u ul var"
	).split(" "),
);

/** Left out with their content. The text inside any other unknown element stays. */
const DROPPED = new Set(
	"script style template iframe object embed noscript svg math form textarea select button title link meta base".split(
		" ",
	),
);

/** @type {Record<string, (value: string) => boolean>} */
const ATTRIBUTES = {
	"data-language": (value) => /^[A-Za-z0-9+#._-]{1,32}$/.test(value),
	class: (value) => /^[\w -]{1,200}$/.test(value),
	title: () => true,
	lang: (value) => /^[\w-]{1,40}$/.test(value),
	start: (value) => /^\d{1,9}$/.test(value),
	colspan: (value) => /^\d{1,3}$/.test(value),
	rowspan: (value) => /^\d{1,3}$/.test(value),
};

/** Read rendered HTML into inert nodes, by the blocks that the server marks. Nodes outside a block have the name "". @param {string} html @returns {Map<string, DocumentFragment>} */
export function safeBlocks(html) {
	const read = new DOMParser().parseFromString(html, "text/html");
	/** @type {Map<string, DocumentFragment>} */
	const found = new Map();
	for (const child of [...read.body.childNodes]) {
		const name =
			child.nodeType === Node.ELEMENT_NODE ? /** @type {Element} */ (child).getAttribute("data-block") : null;
		const made = found.get(name ?? "") ?? document.createDocumentFragment();
		found.set(name ?? "", made);
		if (name === null) copyNode(child, made);
		else copyChildren(child, made);
	}
	return found;
}

/** @param {Node} from @param {Node} to */
function copyChildren(from, to) {
	for (const child of from.childNodes) copyNode(child, to);
}

/** @param {Node} child @param {Node} to */
function copyNode(child, to) {
	if (child.nodeType === Node.TEXT_NODE) to.appendChild(document.createTextNode(child.nodeValue ?? ""));
	else if (child.nodeType === Node.ELEMENT_NODE) copyElement(/** @type {Element} */ (child), to);
}

/** @param {Element} from @param {Node} to */
function copyElement(from, to) {
	const tag = from.localName;
	if (DROPPED.has(tag)) return;
	if (!TAGS.has(tag)) return copyChildren(from, to);
	if (tag === "img") return copyImage(from, to);
	// The page's title, a message and an answer are headings of the first three levels. Headings in an answer are below them.
	const level = /^h[1-6]$/.test(tag) ? Math.min(6, Number(tag[1]) + 3) : 0;
	const made = document.createElement(level ? `h${level}` : tag);
	for (const { name, value } of from.attributes) if (ATTRIBUTES[name]?.(value)) made.setAttribute(name, value);
	if (tag === "input") {
		if (from.getAttribute("type") !== "checkbox") return;
		made.setAttribute("type", "checkbox");
		made.setAttribute("disabled", "");
		made.setAttribute("aria-label", from.hasAttribute("checked") ? "done" : "open");
		if (from.hasAttribute("checked")) made.setAttribute("checked", "");
	}
	if (tag === "a") link(/** @type {HTMLAnchorElement} */ (made), from.getAttribute("href"));
	copyChildren(from, made);
	if (from.getAttribute("tabindex") === "0") made.tabIndex = 0; // it scrolls sideways, also by keyboard
	to.appendChild(made);
}

/** @param {HTMLAnchorElement} made @param {string | null} href */
function link(made, href) {
	if (!href) return;
	try {
		const to = new URL(href, location.href);
		if (!["http:", "https:", "mailto:"].includes(to.protocol)) return;
		made.href = to.href;
		made.target = "_blank";
		made.rel = "noopener noreferrer";
	} catch {
		// not an address: it stays text
	}
}

/** A picture from elsewhere would show its owner who reads this, so only its text is shown. @param {Element} from @param {Node} to */
function copyImage(from, to) {
	const text = from.getAttribute("alt");
	if (text) to.appendChild(document.createTextNode(text));
}
