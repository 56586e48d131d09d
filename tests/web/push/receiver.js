// A browser's end of Web Push, by WebCrypto (RFC 8291), and subscriptions for a browser that reaches no push service.
({
	async make() {
		const b64 = (bytes) =>
			btoa(String.fromCharCode(...new Uint8Array(bytes)))
				.replace(/\+/g, "-")
				.replace(/\//g, "_")
				.replace(/=+$/, "");
		window.pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]);
		window.point = new Uint8Array(await crypto.subtle.exportKey("raw", window.pair.publicKey));
		window.auth = crypto.getRandomValues(new Uint8Array(16));
		return { p256dh: b64(window.point), auth: b64(window.auth) };
	},
	async open(text) {
		const body = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
		const length = body[20];
		const [salt, theirs, sealed] = [body.slice(0, 16), body.slice(21, 21 + length), body.slice(21 + length)];
		const join = (...parts) => new Uint8Array(parts.flatMap((one) => [...one]));
		const utf8 = (text) => new TextEncoder().encode(text);
		const { subtle } = crypto;
		const derive = async (salt, secret, info, bits) => {
			const key = await subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
			return new Uint8Array(await subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, bits));
		};
		const other = await subtle.importKey("raw", theirs, { name: "ECDH", namedCurve: "P-256" }, false, []);
		const bits = await subtle.deriveBits({ name: "ECDH", public: other }, window.pair.privateKey, 256);
		const info = join(utf8("WebPush: info\0"), window.point, theirs);
		const secret = await derive(window.auth, new Uint8Array(bits), info, 256);
		const raw = await derive(salt, secret, utf8("Content-Encoding: aes128gcm\0"), 128);
		const key = await subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"]);
		const iv = await derive(salt, secret, utf8("Content-Encoding: nonce\0"), 96);
		const plain = new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv }, key, sealed));
		let end = plain.length - 1;
		while (plain[end] === 0) end -= 1;
		if (plain[end] !== 2) throw new Error("not the last record");
		return new TextDecoder().decode(plain.slice(0, end));
	},
	subscribe({ endpoint, keys }) {
		const kept = "test.sub";
		const made = (key) => ({
			endpoint,
			options: { applicationServerKey: key },
			toJSON: () => ({ endpoint, expirationTime: null, keys }),
			unsubscribe: async () => (localStorage.removeItem(kept), true),
		});
		const bytes = (text) => {
			const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
			return Uint8Array.from(plain, (one) => one.charCodeAt(0)).buffer;
		};
		PushManager.prototype.getSubscription = async () => {
			const key = localStorage.getItem(kept);
			return key ? made(bytes(key)) : null;
		};
		PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
			if (!userVisibleOnly) throw new DOMException("NotAllowedError");
			localStorage.setItem(kept, applicationServerKey);
			return made(bytes(applicationServerKey));
		};
	},
});
