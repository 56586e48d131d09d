// Pairing another device: a link that is valid once, as text and as a code for a camera.

import { button, clockTime, copyText, el, field } from "../dom.js";
import { recall, remember } from "../identity.js";
import { SCOPES } from "../names.js";
import { openDialog } from "./dialogs.js";

/** Whether an address works only on the computer on which it is used. @param {string} host */
function isLoopback(host) {
	return /^(localhost|.*\.localhost|127(\.\d+){3}|0\.0\.0\.0|\[::1?\])$/i.test(host);
}

/** What is wrong with an address; "" if nothing is. @param {string} address */
export function addressTrouble(address) {
	let url;
	try {
		url = new URL(address);
	} catch {
		return "Write the whole address, for example https://builder.example.net or http://192.168.1.20:8080.";
	}
	if (!/^https?:$/.test(url.protocol)) return "The address begins with http:// or https://.";
	if (isLoopback(url.hostname))
		return "Another device can't reach this address: it means the device itself. Use this computer's address in your network, or that of your tunnel.";
	return "";
}

/** @param {Api} api */
export function pairDevice(api) {
	const name = el("input", { type: "text", value: "Phone", maxlength: 80, autocomplete: "off" });
	const usual = isLoopback(location.hostname) ? (recall("address") ?? "") : location.origin;
	const plain = { inputmode: "url", autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
	const address = el("input", { type: "text", value: usual, placeholder: "https://builder.example.net", ...plain });
	const scope = el(
		"select",
		...["drive", "approve", "view", "admin"].map((one) => el("option", { value: one }, SCOPES[one] ?? one)),
	);
	const alert = el("p", { role: "alert" });
	const form = el(
		"form",
		field("Name", name),
		field("Address", address, "Where the other device finds this server"),
		field("Access", scope),
		alert,
		el("div.choice", el("button.primary", "Make a link")),
	);
	const shown = el("div.pairing", { "aria-live": "polite" });
	openDialog("Pair a device", form, shown);
	form.onsubmit = async (event) => {
		event.preventDefault();
		const url = address.value.trim().replace(/\/+$/, "");
		alert.textContent = addressTrouble(url);
		if (alert.textContent) return address.focus();
		try {
			const { origin } = new URL(url);
			const body = {
				name: name.value.trim() || "Phone",
				scope: scope.value,
				...(origin === location.origin ? {} : { url: origin }),
			};
			const told = await api.json("/api/devices/pair", { method: "POST", body });
			if (told.reached !== false) remember("address", origin);
			show(shown, told);
			form.hidden = true;
		} catch (error) {
			alert.textContent = error instanceof Error ? error.message : "Something went wrong.";
		}
	};
}

/** @param {HTMLElement} at @param {any} pairing */
function show(at, pairing) {
	const link = String(pairing.url);
	const text = el("input", {
		type: "text",
		readonly: true,
		value: link,
		"aria-label": "Link",
		onfocus: () => text.select(),
	});
	const copy = button(
		"Copy the link",
		async () => (copy.textContent = (await copyText(link)) ? "Copied" : "Select and copy it"),
	);
	const until = pairing.expires_at ? `, until ${clockTime(pairing.expires_at)}` : "";
	at.replaceChildren(
		pairing.reached === false
			? el(
					"p",
					{ role: "alert" },
					"This server does not answer at this address, as seen from its own computer. Check the address, the tunnel and the firewall.",
				)
			: "",
		...(typeof pairing.qr === "string" && pairing.qr.includes("<svg") ? [drawing(pairing.qr)] : []),
		el("p", `Scan with the other device. Works once${until}.`),
		el("p.hint", "For an app on the Home Screen: copy the link and paste it into its Key field."),
		text,
		copy,
	);
}

/** The server's drawing as a picture: in an <img> no script of it can run. @param {string} svg */
function drawing(svg) {
	const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
	return el("img.qr", { alt: "QR code with the link", src: url, onload: () => URL.revokeObjectURL(url) });
}
