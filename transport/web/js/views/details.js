// All details and actions of a session besides talking: its name, its devices, what is allowed, export, deletion.

import { ApiError } from "../api.js";
import { button, clockTime, el, field } from "../dom.js";
import { machineWords, modeOf } from "../names.js";
import { showChanges } from "./changes.js";
import { confirmed, openDialog } from "./dialogs.js";
import { saveFile } from "./share.js";

/** @param {OpenSession} session @param {(text: string) => void} say @param {() => void} gone */
export function sessionDetails(session, say, gone) {
	const { client, journal } = session;
	const title = el("input", { type: "text", value: journal.title, maxlength: 200, placeholder: session.id });
	const form = el("form.inline", field("Title", title), el("button", "Save title"));
	form.onsubmit = (event) => {
		event.preventDefault();
		if (title.value.trim() && session.act({ type: "rename", title: title.value.trim() })) dialog.close();
	};
	const save = (/** @type {string} */ format) => () =>
		exportSession(session, format).catch((error) => say(wrong(error)));
	const entry = client.sessions.known.get(session.id);
	const tidy = (/** @type {string} */ label, /** @type {Record<string, boolean>} */ what) =>
		button(label, () => session.act({ type: "organize", ...what }) && dialog.close());
	const { pinned, archived } = entry ?? {};
	const tidies = [
		pinned === undefined ? null : tidy(pinned ? "Unpin" : "Pin", { pinned: !pinned }),
		archived === undefined ? null : tidy(archived ? "Move out of the archive" : "Archive", { archived: !archived }),
	];
	const granted = el("div");
	const shown = el("div");
	const draw = () => {
		shown.replaceChildren(facts(session));
		granted.replaceChildren(...grants(session, say));
	};
	draw();
	const dialog = openDialog(
		"Details",
		client.may("drive") ? form : null,
		shown,
		granted,
		el(
			"div.choice",
			button("Show all changes", () => changes()),
		),
		el("p.label", "Export"),
		el("div.choice", button("Markdown", save("md")), button("JSON", save("json"))),
		client.may("drive") ? el("div.choice", ...tidies) : null,
		client.may("admin")
			? el(
					"div.choice",
					button("Delete", () => remove(session, dialog, say, gone), "danger"),
				)
			: null,
	);
	const changes = () => {
		dialog.close();
		showChanges(session, null);
	};
	session.watchers.add(draw);
	dialog.addEventListener("close", () => session.watchers.delete(draw));
}

/** What was allowed for this session, and how to revoke it. @param {OpenSession} session @param {(text: string) => void} say */
function grants(session, say) {
	const { journal, client } = session;
	if (!journal.grants.length) return [];
	const rows = journal.grants.map(({ grant, by_device: by, at }) => {
		const withdraw = () =>
			session.act({ type: "revoke_grant", grant }) &&
			say("Asked the server to withdraw it. It holds from the next tool call.");
		const when = [journal.nameOf(by), at ? clockTime(at) : ""].filter(Boolean).join(", ");
		return el(
			"li",
			el("span", el("b", grant), el("small", ` ${when}`)),
			client.may("approve") ? button("Withdraw", withdraw, "quiet") : null,
		);
	});
	return [el("p.label", "Allowed for this session"), el("ul.grants", ...rows)];
}

/** @param {OpenSession} session */
function facts({ journal, id, machine }) {
	const { model, workspace, permission_mode: mode, effort } = journal.settings;
	const { gauge } = journal;
	const number = (/** @type {number} */ one) => new Intl.NumberFormat([], { notation: "compact" }).format(one);
	const here = journal.devices.map((one) => `${one.name} · ${one.device_id}${one.observe ? " (view only)" : ""}`);
	/** @type {[string, string | string[] | null | undefined][]} */
	const rows = [
		["Machine", machineWords(machine)],
		["Agent", journal.agent],
		["Model", model],
		["Effort", effort],
		["Permission mode", modeOf(mode, journal.offer)],
		["Workspace", workspace],
		["Worktree", worktreeFacts(journal)],
		["Context", gauge?.context ? `${number(gauge.context.used)} of ${number(gauge.context.window)} tokens` : ""],
		["Cost", gauge?.cost_usd === undefined ? "" : `$${gauge.cost_usd.toFixed(2)}`],
		[
			"Limits",
			(gauge?.limits ?? []).map(
				(one) =>
					`${one.name.replaceAll("_", " ")}: ${Math.round(one.used_percent)} % used${one.resets_at ? `, resets ${clockTime(one.resets_at)}` : ""}`,
			),
		],
		["Connected devices", here],
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

/** The state of the session's worktree when this page attached. @param {Journal} journal */
function worktreeFacts({ worktree }) {
	if (!worktree) return [];
	const { branch, base, ahead, dirty } = worktree;
	const how = [
		ahead ? `${ahead} ${ahead === 1 ? "commit" : "commits"} ahead` : "",
		dirty ? "changes that are not committed" : "",
	].filter(Boolean);
	return [`${branch}, from ${base}`, ...how];
}

/** @param {OpenSession} session @param {string} format */
async function exportSession({ client, id, journal }, format) {
	const answer = await client.api.fetch(`/api/sessions/${encodeURIComponent(id)}/export?format=${format}`);
	const name = (journal.title || id).replace(/[^\p{L}\p{N} ._-]+/gu, "_").slice(0, 80);
	await saveFile(await answer.blob(), `${name}.${format}`);
}

/** @param {OpenSession} session @param {HTMLDialogElement} dialog @param {(text: string) => void} say @param {() => void} gone */
async function remove(session, dialog, say, gone) {
	dialog.close();
	if (!(await confirmed("This permanently deletes the session, its files and its history on all devices.", "Delete")))
		return;
	try {
		await deleted(session);
	} catch (error) {
		say(wrong(error));
		return;
	}
	session.client.sessions.remove(session.id);
	await session.client.store.drop(`s:${session.id}`);
	gone();
}

/** Delete the session. If its worktree has work that exists nowhere else, ask again. @param {OpenSession} session */
async function deleted({ client, id, journal }) {
	const url = `/api/sessions/${encodeURIComponent(id)}`;
	try {
		await client.api.fetch(url, { method: "DELETE" });
	} catch (error) {
		if (!(error instanceof ApiError) || error.status !== 409 || journal.turn !== null) throw error;
		if (!(await confirmed(`${error.message} What is only there is lost.`, "Delete anyway"))) throw error;
		await client.api.fetch(`${url}?force=true`, { method: "DELETE" });
	}
}

/** @param {unknown} error */
function wrong(error) {
	return error instanceof ApiError ? error.message : "Something went wrong.";
}
