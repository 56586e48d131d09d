// Notifications in the service worker: it shows a card for each push, and acts on a tap.
//
// Every push must end with a card on the screen: a browser takes the right to push from a page that shows nothing. So the
// network is used only after the card is shown.
{
	/** The type checker knows only pages. @type {any} */
	const here = self;
	const WORDS = /** @type {Record<string, string>} */ ({ allow: "Allow", deny: "Deny", open: "Open" });
	const AWAY = "The server can't be reached. Open the app to answer.";

	/** The key and device of this page, as the page stored them. @returns {Promise<{key: string, device: string} | undefined>} */
	const me = () =>
		new Promise((resolve) => {
			const request = indexedDB.open("builderos", 1);
			request.onerror = () => resolve(undefined);
			request.onupgradeneeded = () => request.transaction?.abort(); // the page creates the database
			request.onsuccess = () => {
				const base = request.result;
				const got = base.transaction("kept", "readonly").objectStore("kept").get("me");
				got.onsuccess = () => (base.close(), resolve(got.result));
				got.onerror = () => (base.close(), resolve(undefined));
			};
		});

	/** @param {string} path @param {Record<string, unknown>} body @returns {Promise<Response>} */
	const ask = async (path, body) => {
		const who = await me();
		if (!who) throw new Error("nobody is signed in");
		const headers = { Authorization: `Bearer ${who.key}`, "Content-Type": "application/json" };
		return fetch(path, {
			method: "POST",
			headers,
			body: JSON.stringify({ ...body, ...(path.includes("/requests/") ? { device_id: who.device } : {}) }),
		});
	};

	/** @param {any} data @param {string} what */
	const report = (data, what) =>
		ask("/api/notifications/seen", { alert_id: data.alert_id, what, channel: data.channel }).catch(() => {});

	/** Show a card in place of the one with the same tag. @param {string} title @param {any} options */
	const show = async (title, options) => {
		const before = await here.registration.getNotifications({ tag: options.tag });
		for (const one of before) one.close();
		await here.registration.showNotification(title, {
			icon: "/icons/icon-192.png",
			...options,
			silent: options.silent || (options.data.repeat && before.length > 0),
		});
	};

	/** @param {string} text */
	const take = async (text) => {
		let told;
		try {
			told = JSON.parse(text);
		} catch {
			told = { notification: { title: "BuilderOS", body: "A session needs you.", tag: "a" } };
		}
		const { title, navigate, app_badge: badge, ...rest } = told.notification;
		const data = { ...told.data, navigate };
		const actions = (data.buttons ?? []).map((/** @type {string} */ one) => ({
			action: one,
			title: WORDS[one] ?? one,
		}));
		await show(title, { ...rest, data, actions });
		if (data.alert_id && !rest.silent) await report(data, "shown");
		if (badge !== undefined) await here.navigator.setAppBadge?.(badge).catch(() => {});
	};

	/** @param {any} card @param {any} data @param {string} decision */
	const decide = async (card, data, decision) => {
		const path = `/api/sessions/${data.session_id}/requests/${encodeURIComponent(data.request_id)}`;
		let trouble = "";
		try {
			const [answer] = await Promise.all([ask(path, { decision }), report(data, "clicked")]);
			if (!answer.ok) {
				const { error } = await answer.json();
				trouble = error.by_device ? `Already answered by ${error.by_device}.` : error.message;
			}
		} catch {
			trouble = AWAY;
		}
		if (trouble)
			await show(card.title, { body: trouble, tag: card.tag, silent: true, data: { navigate: data.navigate } });
	};

	/** @param {any} data */
	const open = async (data) => {
		if (data.alert_id) report(data, "clicked");
		const to = data.navigate ?? "/";
		for (const page of await here.clients.matchAll({ type: "window", includeUncontrolled: true })) {
			await page.navigate(to).catch(() => {});
			return page.focus();
		}
		return here.clients.openWindow(to);
	};

	here.addEventListener("push", (/** @type {any} */ event) => event.waitUntil(take(event.data?.text() ?? "")));
	here.addEventListener("notificationclick", (/** @type {any} */ event) => {
		const { notification: card, action } = event;
		const data = card.data ?? {};
		card.close();
		event.waitUntil(action === "allow" || action === "deny" ? decide(card, data, action) : open(data));
	});
	here.addEventListener("notificationclose", (/** @type {any} */ event) => {
		const data = event.notification.data ?? {};
		if (data.alert_id) event.waitUntil(report(data, "closed"));
	});
}
