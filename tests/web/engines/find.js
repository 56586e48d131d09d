// Finds elements by role, accessible name and text, and waits for what they are to be. page.py puts this
// before each script that it runs in a page, so it declares functions only.

// A part: { role, name, text, data, href, within, first }. See `Part` in page.py.

function selectorOf(role) {
	const native = {
		alert: "",
		alertdialog: "",
		article: "article",
		button: "button, input[type=submit], summary",
		combobox: "select",
		dialog: "dialog",
		heading: "h1, h2, h3, h4, h5, h6",
		link: "a[href]",
		list: "ul, ol",
		listitem: "li",
		log: "",
		navigation: "nav",
		region: "section[aria-label], section[aria-labelledby]",
		searchbox: "input[type=search]",
		status: "output",
		textbox: "textarea, input:not([type]), input[type=text], input[type=password]",
	}[role];
	if (native === undefined) throw new Error(`find.js knows no role ${role}`);
	return [
		`[role=${role}]`,
		...native
			.split(", ")
			.filter(Boolean)
			.map((one) => `${one}:not([role])`),
	].join(", ");
}

function isShown(node) {
	if (!node.getClientRects().length || node.closest("[aria-hidden=true], [inert]")) return false;
	return getComputedStyle(node).visibility === "visible";
}

function tidy(text) {
	return (text ?? "").replace(/\s+/g, " ").trim();
}

function nameOf(node) {
	const ids = node.getAttribute("aria-labelledby");
	if (ids)
		return tidy(
			ids
				.split(/\s+/)
				.map((id) => document.getElementById(id)?.textContent)
				.join(" "),
		);
	const named = tidy(node.getAttribute("aria-label"));
	if (named) return named;
	if (node.labels?.length) return tidy([...node.labels].map((label) => label.textContent).join(" "));
	if (node.matches("button, a, summary, h1, h2, h3, h4, h5, h6, [role=button], [role=link]"))
		return tidy(node.textContent);
	return tidy(node.title || node.placeholder);
}

// All elements that a part means, in the order of the document.
function findAll(part) {
	const roots = part.within ? findAll(part.within) : [document];
	const wanted = (node) =>
		isShown(node) &&
		(part.name === null || nameOf(node) === part.name) &&
		(part.text === null || tidy(node.innerText).includes(part.text)) &&
		(part.data === null || node.dataset.role === part.data) &&
		(part.href === null || node.getAttribute("href") === part.href);
	const found = roots.flatMap((root) => [...root.querySelectorAll(selectorOf(part.role))]).filter(wanted);
	return part.first ? found.slice(0, 1) : found;
}

// The newest of them.
function find(part) {
	return findAll(part).at(-1);
}

function isInView(node) {
	const box = node.getBoundingClientRect();
	let [top, bottom] = [0, innerHeight];
	for (let outer = node.parentElement; outer; outer = outer.parentElement) {
		if (getComputedStyle(outer).overflowY === "visible") continue;
		const edge = outer.getBoundingClientRect();
		[top, bottom] = [Math.max(top, edge.top), Math.min(bottom, edge.bottom)];
	}
	return box.bottom > top + 1 && box.top < bottom - 1;
}

// What is not yet as it should be, as text; null if all is. `wanted` is what page.py's `expect` was given.
function faultOf(part, wanted) {
	const all = findAll(part);
	const texts = all.map((node) => tidy(node.innerText).slice(-300));
	if (wanted.count !== undefined)
		return all.length === wanted.count ? null : `there are ${all.length}: ${JSON.stringify(texts)}`;
	const node = all.at(-1);
	if (!node) return "there is none";
	const is = {
		text: () => tidy(node.innerText).includes(wanted.text),
		lacks: () => !tidy(node.innerText).includes(wanted.lacks),
		filled: () => Boolean(tidy(node.innerText)) === wanted.filled,
		whole: () => wanted.whole.includes(tidy(node.textContent)),
		value: () => node.value === wanted.value,
		focused: () => node.contains(document.activeElement) === wanted.focused,
		in_view: () => isInView(node) === wanted.in_view,
	};
	const wrong = Object.keys(wanted).filter((key) => !is[key]());
	if (!wrong.length) return null;
	return `${wrong.join(", ")}: not as wanted; its text is ${JSON.stringify(texts.at(-1))}, its value ${JSON.stringify(node.value)}`;
}

// Wait until `look` finds nothing wrong, by looking at each change of the page; return what is still wrong at the limit.
async function until(look, limitMs) {
	const end = performance.now() + limitMs;
	let changed = () => {};
	const observer = new MutationObserver(() => changed());
	observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
	try {
		for (;;) {
			const wrong = await look();
			const left = end - performance.now();
			if (!wrong || left <= 0) return wrong;
			// Scrolling, focus and the value of a field change no node.
			await new Promise((done) => {
				changed = done;
				setTimeout(done, Math.min(left, 100));
			});
		}
	} finally {
		observer.disconnect();
	}
}

// The middle of an element that a person can press now; null if it moves, is disabled, or something lies over it.
async function pointOf(part) {
	const node = find(part);
	if (!node || node.disabled) return null;
	node.scrollIntoView({ block: "nearest" });
	const before = node.getBoundingClientRect();
	await new Promise((done) => setTimeout(done, 30));
	const box = node.getBoundingClientRect();
	if (!node.isConnected || box.x !== before.x || box.y !== before.y) return null;
	const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
	const hit = document.elementFromPoint(x, y);
	return hit && (node.contains(hit) || hit.contains(node)) ? [x, y] : null;
}
