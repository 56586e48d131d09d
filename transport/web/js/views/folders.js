// The choice of a folder on the server's computer: folders of recent sessions, and all others.

import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
import { openDialog } from "./dialogs.js";
import { atMachine } from "./machines.js";

/** @typedef {{name: string, path: string, git: null | {branch: string, dirty: boolean | null}}} Folder */

/**
 * Let the person choose a folder.
 * @param {Client} client @param {string} start where to begin; empty: where the server begins @param {(path: string) => void} chosen
 * @param {string} [machine] whose folders; empty: the server's
 */
export function chooseFolder(client, start, chosen, machine = "") {
	const at = el("p.path", { role: "status" });
	const recent = el("div");
	const list = el("div");
	const take = (/** @type {string} */ path) => {
		dialog.close();
		chosen(path);
	};
	let here = "";
	const up = button("Up", () => go(here.replace(/\/[^/]+$/, "") || "/"), "quiet");
	const use = button("Use this folder", () => take(here), "primary");
	const row = (/** @type {Folder} */ folder, /** @type {string} */ name, /** @type {(path: string) => void} */ act) => {
		const { git, path } = folder;
		const facts = git ? [git.branch, git.dirty ? "changed files" : ""].filter(Boolean).join(" · ") : "";
		return el(
			"li",
			el("button", { type: "button", class: "folder", onclick: () => act(path) }, el("span", name), el("small", facts)),
		);
	};
	const go = async (/** @type {string} */ path) => {
		at.textContent = "Reading the folders …";
		use.disabled = true;
		try {
			/** @type {{path: string, folders: Folder[], recent: Folder[]}} */
			const found = await client.api.json(
				`/api/folders?${new URLSearchParams({ ...(path ? { path } : {}), ...atMachine(machine) })}`,
			);
			here = found.path;
			at.textContent = here;
			use.disabled = false;
			up.hidden = here === "/";
			recent.replaceChildren(
				...(found.recent.length
					? [el("h3", "Recent"), el("ul.folders", ...found.recent.map((one) => row(one, one.path, take)))]
					: []),
			);
			const rows = found.folders.map((one) => row(one, one.name, go));
			list.replaceChildren(rows.length ? el("ul.folders", ...rows) : el("p.hint", "There are no folders in it."));
		} catch (error) {
			at.textContent = error instanceof ApiError ? error.message : "Couldn't read the server's answer. Try again.";
			use.disabled = !here;
		}
	};
	const dialog = openDialog("Choose a folder", recent, el("h3", "Folders"), at, el("div.choice", up, use), list);
	go(start);
}
