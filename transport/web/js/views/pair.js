// Making another device one's own: a link that is good once, as text and as a code to point a camera at.

import { button, clockTime, el } from "../dom.js";
import { field, openDialog } from "./dialogs.js";

/** @param {Api} api */
export function pairDevice(api) {
	const name = el("input", { type: "text", value: "Phone", maxlength: 80, autocomplete: "off" });
	const scope = el(
		"select",
		...["drive", "approve", "view", "admin"].map((one) => el("option", { value: one }, SCOPES[/** @type {"view"} */ (one)])),
	);
	const form = el("form", field("Name", name), field("May", scope), el("div.choice", el("button.primary", "Make a link")));
	const shown = el("div.pairing", { "aria-live": "polite" });
	openDialog("Pair a device", form, shown);
	form.onsubmit = async (event) => {
		event.preventDefault();
		try {
			const body = { name: name.value.trim() || "Phone", scope: scope.value };
			show(shown, await api.json("/api/devices/pair", { method: "POST", body }));
			form.hidden = true;
		} catch (error) {
			shown.replaceChildren(el("p", { role: "alert" }, error instanceof Error ? error.message : "That did not work."));
		}
	};
}

const SCOPES = { view: "only watch", approve: "watch and decide", drive: "use sessions", admin: "everything, devices too" };

/** @param {HTMLElement} at @param {any} pairing */
function show(at, pairing) {
	const link = String(pairing.url);
	const text = el("input", { type: "text", readonly: true, value: link, "aria-label": "Link", onfocus: () => text.select() });
	at.replaceChildren(
		...(typeof pairing.qr === "string" && pairing.qr.includes("<svg") ? [drawing(pairing.qr)] : []),
		el("p", "Open this on the other device. It is good once", pairing.expires_at ? `, until ${clockTime(pairing.expires_at)}` : "", "."),
		text,
		navigator.clipboard ? button("Copy the link", () => navigator.clipboard.writeText(link)) : "",
	);
}

/** The server's drawing as a picture: in an <img> nothing of it can run. @param {string} svg */
function drawing(svg) {
	const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
	return el("img.qr", { alt: "QR code with the link", src: url, onload: () => URL.revokeObjectURL(url) });
}
