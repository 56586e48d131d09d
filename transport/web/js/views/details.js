// All that can be seen of and done with a session beside talking: its name, its devices, an export, its end.

import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
import { confirmed, field, openDialog } from "./dialogs.js";

/** Hand a file to the person. @param {Blob} blob @param {string} name */
export function saveFile(blob, name) {
	const url = URL.createObjectURL(blob);
	el("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** @param {OpenSession} session @param {(text: string) => void} say @param {() => void} gone */
export function sessionDetails(session, say, gone) {
	const { client, journal } = session;
	const title = el("input", { type: "text", value: journal.title, maxlength: 200, placeholder: session.id });
	const form = el("form.inline", field("Title", title), el("button", "Save title"));
	form.onsubmit = (event) => {
		event.preventDefault();
		if (title.value.trim() && session.act({ type: "rename", title: title.value.trim() })) dialog.close();
	};
	const save = (/** @type {string} */ format) => () => exportSession(session, format).catch((error) => say(wrong(error)));
	const dialog = openDialog(
		"Details",
		client.may("drive") ? form : null,
		facts(session),
		el("p.label", "Export"),
		el("div.choice", button("Markdown", save("md")), button("JSON", save("json"))),
		client.may("admin") ? el("div.choice", button("Delete", () => remove(session, dialog, say, gone), "danger")) : null,
	);
}

/** @param {OpenSession} session */
function facts({ journal, id }) {
	const { model, workspace, permission_mode: mode } = journal.settings;
	const here = journal.devices.map((one) => `${one.name} · ${one.device_id}${one.observe ? " (watching)" : ""}`);
	/** @type {[string, string | string[] | null | undefined][]} */
	const rows = [
		["Agent", journal.agent],
		["Model", model],
		["Rights", mode],
		["Workspace", workspace],
		["Here now", here],
		["Allowed for this session", journal.grants.map((one) => `${one.grant} (${journal.nameOf(one.by_device)})`)],
		["Id", id],
	];
	const shown = rows.filter(([, value]) => value && value.length);
	return el(
		"dl.facts",
		...shown.flatMap(([name, value]) => [
			el("dt", name),
			...(Array.isArray(value) ? value : [value ?? ""]).map((one) => el("dd", one)),
		]),
	);
}

/** @param {OpenSession} session @param {string} format */
async function exportSession({ client, id, journal }, format) {
	const answer = await client.api.fetch(`/api/sessions/${encodeURIComponent(id)}/export?format=${format}`);
	const name = (journal.title || id).replace(/[^\p{L}\p{N} ._-]+/gu, "_").slice(0, 80);
	saveFile(await answer.blob(), `${name}.${format}`);
}

/** @param {OpenSession} session @param {HTMLDialogElement} dialog @param {(text: string) => void} say @param {() => void} gone */
async function remove(session, dialog, say, gone) {
	dialog.close();
	if (!(await confirmed("The session, its files and all that was said in it go for good, on every device.", "Delete"))) return;
	try {
		await session.client.api.fetch(`/api/sessions/${encodeURIComponent(session.id)}`, { method: "DELETE" });
	} catch (error) {
		say(wrong(error));
		return;
	}
	session.client.sessions.remove(session.id);
	await session.client.store.drop(`s:${session.id}`);
	gone();
}

/** @param {unknown} error */
function wrong(error) {
	return error instanceof ApiError ? error.message : "That did not work.";
}
