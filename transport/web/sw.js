// The app without a network. It keeps the app's own files and nothing else: what the server says is kept by the app.
//
// A page always gets the files of one version: those of the cache that is named as the current one. In the background they
// are compared with the server's, and where any differs a whole new cache takes the place of the old one.

const FILES = [
	"/",
	"/manifest.webmanifest",
	"/css/base.css",
	"/css/parts.css",
	"/css/text.css",
	"/icons/icon.svg",
	"/icons/icon-180.png",
	"/icons/icon-192.png",
	"/icons/icon-512.png",
	"/js/api.js",
	"/js/app.js",
	"/js/client.js",
	"/js/connection.js",
	"/js/diff.js",
	"/js/dom.js",
	"/js/entries.js",
	"/js/identity.js",
	"/js/journal.js",
	"/js/main.js",
	"/js/outbox.js",
	"/js/pieces.js",
	"/js/router.js",
	"/js/sanitise.js",
	"/js/session.js",
	"/js/sessions.js",
	"/js/store.js",
	"/js/timeline.js",
	"/js/views/article.js",
	"/js/views/composer.js",
	"/js/views/conversation.js",
	"/js/views/details.js",
	"/js/views/dialogs.js",
	"/js/views/list.js",
	"/js/views/log.js",
	"/js/views/pair.js",
	"/js/views/permission.js",
	"/js/views/shell.js",
	"/js/views/signin.js",
	"/js/views/tasks.js",
	"/js/views/tool.js",
	"/js/views/welcome.js",
	"/js/voice.js",
];
const KNOWN = new Set(FILES);
const PREFIX = "app-";

/** The type checker knows pages only. @type {any} */
const worker = self;

/** The newest whole cache; their names count up. @returns {Promise<string | undefined>} */
async function current() {
	const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX));
	return names.sort((a, b) => Number(a.slice(PREFIX.length)) - Number(b.slice(PREFIX.length))).at(-1);
}

/** Fetch all files; a single one that does not come leaves everything as it is. @returns {Promise<[string, Response][]>} */
function fetchAll() {
	return Promise.all(
		FILES.map(async (path) => {
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
		if (!kept || (await text(kept)) !== (await text(answer.clone()))) return true;
	}
	return (await cache.keys()).length !== files.length;
}

/** Take the server's files where they are others. @returns {Promise<boolean>} whether there was a change */
async function renew() {
	const old = await current();
	const files = await fetchAll();
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
		if (await renew()) for (const page of await worker.clients.matchAll()) page.postMessage("updated");
	} catch {
		// no network: what there is stays
	}
}

/** @param {string} path @param {Request} request */
async function answer(path, request) {
	const name = await current();
	const kept = name ? await (await caches.open(name)).match(path) : undefined;
	return kept ?? fetch(request);
}

worker.addEventListener("install", (/** @type {any} */ event) => {
	event.waitUntil(renew().then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (/** @type {any} */ event) => {
	event.waitUntil(worker.clients.claim());
});

worker.addEventListener("fetch", (/** @type {any} */ event) => {
	const { request } = event;
	const url = new URL(request.url);
	if (request.method !== "GET" || url.origin !== location.origin || !KNOWN.has(url.pathname)) return;
	event.respondWith(answer(url.pathname, request));
	if (request.mode === "navigate") event.waitUntil(renewAndTell());
});
