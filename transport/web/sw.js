// The app without a network. It keeps the app's own files and nothing else: what the server says is kept by the app.
//
// A page always gets the files of one version: those of the cache that is named as the current one. In the background they
// are compared with the server's, and if any differs a whole new cache takes the place of the old one.

/** What signing in, the inbox and a conversation need. */
const FIRST = [
	"/",
	"/manifest.webmanifest",
	"/css/base.css",
	"/css/parts.css",
	"/css/text.css",
	"/icons/icon-180.png",
	"/icons/icon-192.png",
	"/icons/icon-512.png",
	"/icons/icon.svg",
	"/js/api.js",
	"/js/app.js",
	"/js/client.js",
	"/js/connection.js",
	"/js/dom.js",
	"/js/draft.js",
	"/js/entries.js",
	"/js/identity.js",
	"/js/journal.js",
	"/js/main.js",
	"/js/names.js",
	"/js/outbox.js",
	"/js/paint.js",
	"/js/pieces.js",
	"/js/router.js",
	"/js/sanitise.js",
	"/js/session.js",
	"/js/sessions.js",
	"/js/store.js",
	"/js/timeline.js",
	"/js/viewport.js",
	"/js/views/code.js",
	"/js/views/composer.js",
	"/js/views/conversation.js",
	"/js/views/line.js",
	"/js/views/list.js",
	"/js/views/log.js",
	"/js/views/message.js",
	"/js/views/row.js",
	"/js/views/shell.js",
	"/js/views/signin.js",
	"/js/views/start.js",
	"/js/views/turn.js",
	"/js/work.js",
];
/** What is loaded when somebody first uses it: fetched once the first page is idle. */
const REST = [
	"/css/more.css",
	"/js/ansi.js",
	"/js/cards.js",
	"/js/diff.js",
	"/js/doings.js",
	"/js/keys.js",
	"/js/peeks.js",
	"/js/places.js",
	"/js/push.js",
	"/js/tools.js",
	"/js/upload.js",
	"/js/views/asks.js",
	"/js/views/changed.js",
	"/js/views/changes.js",
	"/js/views/comment.js",
	"/js/views/creation.js",
	"/js/views/desk.js",
	"/js/views/details.js",
	"/js/views/dialogs.js",
	"/js/views/file.js",
	"/js/views/filters.js",
	"/js/views/folders.js",
	"/js/views/hits.js",
	"/js/views/machines.js",
	"/js/views/markdown.js",
	"/js/views/mention.js",
	"/js/views/missing.js",
	"/js/views/needs.js",
	"/js/views/notifications.js",
	"/js/views/pair.js",
	"/js/views/palette.js",
	"/js/views/pane.js",
	"/js/views/patch.js",
	"/js/views/paths.js",
	"/js/views/permission.js",
	"/js/views/plan.js",
	"/js/views/queue.js",
	"/js/views/settings.js",
	"/js/views/share.js",
	"/js/views/steering.js",
	"/js/views/steps.js",
	"/js/views/strip.js",
	"/js/views/swipe.js",
	"/js/views/tasks.js",
	"/js/views/tool.js",
	"/js/views/toolbody.js",
	"/js/views/undo.js",
	"/js/views/ways.js",
	"/js/views/welcome.js",
	"/js/voice.js",
];
const FILES = [...FIRST, ...REST];
const KNOWN = new Set(FILES);
const PREFIX = "app-";

/** The type checker knows pages only. @type {any} */
const worker = self;
worker.importScripts("/js/cards.js");

/** The newest whole cache; their names count up. @returns {Promise<string | undefined>} */
async function current() {
	const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX));
	return names.sort((a, b) => Number(a.slice(PREFIX.length)) - Number(b.slice(PREFIX.length))).at(-1);
}

/** Fetch files; a single one that does not come leaves everything as it is. @param {string[]} paths @returns {Promise<[string, Response][]>} */
function fetchAll(paths) {
	return Promise.all(
		paths.map(async (path) => {
			const answer = await fetch(path, { cache: "no-cache", credentials: "same-origin" });
			if (!answer.ok || answer.redirected) throw new Error(`${path}: ${answer.status}`);
			return /** @type {[string, Response]} */ ([path, answer]);
		}),
	);
}

/** @param {Response} answer */
async function text(answer) {
	return new TextDecoder("latin1").decode(await answer.arrayBuffer());
}

/** Whether any of these differs from what is kept. @param {[string, Response][]} files @param {Cache} cache */
async function differs(files, cache) {
	for (const [path, answer] of files) {
		const kept = await cache.match(path);
		if (!kept && REST.includes(path)) continue; // not fetched yet
		if (!kept || (await text(kept)) !== (await text(answer.clone()))) return true;
	}
	return (await cache.keys()).some((one) => !KNOWN.has(new URL(one.url).pathname));
}

/** Take the server's files where they are others. @returns {Promise<boolean>} whether there was a change */
async function renew() {
	const old = await current();
	// A first visit is not kept waiting for what it may never use.
	const files = await fetchAll(old ? FILES : FIRST);
	if (old && !(await differs(files, await caches.open(old)))) return false;
	const number = old ? Number(old.slice(PREFIX.length)) + 1 : 1;
	// Filled under a name that does not count yet: a worker that is stopped half-way leaves no half version behind.
	const fresh = await caches.open(`new-${number}`);
	await Promise.all(files.map(([path, answer]) => fresh.put(path, answer.clone())));
	const cache = await caches.open(`${PREFIX}${number}`);
	await Promise.all(files.map(([path, answer]) => cache.put(path, answer)));
	for (const name of await caches.keys()) if (name !== `${PREFIX}${number}`) await caches.delete(name);
	return old !== undefined;
}

async function renewAndTell() {
	try {
		if (await renew()) await tellPages();
	} catch {
		// no network: what there is stays
	}
}

async function tellPages() {
	for (const page of await worker.clients.matchAll()) page.postMessage("updated");
}

/** Fetch what the current version lacks, once the page has nothing else to do. */
async function fetchRest() {
	const name = await current();
	if (!name) return;
	const cache = await caches.open(name);
	const there = new Set((await cache.keys()).map((one) => new URL(one.url).pathname));
	const files = await fetchAll(REST.filter((path) => !there.has(path)));
	if ((await current()) === name) await Promise.all(files.map(([path, answer]) => cache.put(path, answer)));
}

/** @param {string} path @param {Request} request */
async function answer(path, request) {
	const name = await current();
	const kept = name ? await (await caches.open(name)).match(path) : undefined;
	return kept ?? fetch(request);
}

worker.addEventListener("install", (/** @type {any} */ event) => {
	event.waitUntil(
		renew().then(async (changed) => {
			await worker.skipWaiting();
			if (changed) await tellPages();
		}),
	);
});

worker.addEventListener("activate", (/** @type {any} */ event) => {
	event.waitUntil(worker.clients.claim());
});

worker.addEventListener("message", (/** @type {any} */ event) => {
	if (event.data === "rest") event.waitUntil(fetchRest().catch(() => {})); // no network: the next page asks again
	if (event.data === "renew") event.waitUntil(renewAndTell());
});

worker.addEventListener("fetch", (/** @type {any} */ event) => {
	const { request } = event;
	const url = new URL(request.url);
	if (request.method !== "GET" || url.origin !== location.origin || !KNOWN.has(url.pathname)) return;
	event.respondWith(answer(url.pathname, request));
	if (request.mode === "navigate") event.waitUntil(renewAndTell());
});
