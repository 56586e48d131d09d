// The line below a turn that changed files: how much changed, and ways to see it and to undo it.

import { button, el } from "../dom.js";
import { filesText } from "../work.js";

/** @param {HTMLElement} at @param {AnswerEntry} entry @param {Acts} acts */
export function drawChanged(at, entry, acts) {
	const { changed, undo } = entry;
	if (!changed) return;
	const mayUndo = acts.mayDrive();
	const version = JSON.stringify([changed, undo, mayUndo]);
	if (at.dataset.version === version) return;
	at.dataset.version = version;
	const act = () =>
		acts.open(
			() => import("./undo.js"),
			(part, session) => part.undo(session, entry, acts.say),
		);
	const view = () =>
		acts.open(
			() => import("./changes.js"),
			(part, session) => part.showChanges(session, entry.turn),
		);
	const counts = `${filesText(changed.files)}, +${changed.added} −${changed.removed}`;
	at.replaceChildren(
		el("span.facts-line", undo ? `${counts} · undone` : counts),
		button("View", view, "quiet"),
		mayUndo ? button(undo ? "Redo" : "Undo", act, "quiet") : "",
	);
}
