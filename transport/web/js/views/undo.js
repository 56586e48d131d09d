// Undoes the changes of a turn, and redoes them. It asks first, and explains a refusal.

import { someOf } from "../work.js";
import { confirmed } from "./dialogs.js";

/** @param {OpenSession} session @param {AnswerEntry} entry @param {(text: string) => void} say */
export async function undo(session, entry, say) {
	const redo = entry.undo;
	const question = redo
		? "This restores what the undo took back. Later changes stay."
		: "This takes back what this turn changed in your files. Later changes stay. You can redo it.";
	if (!(await confirmed(question, redo ? "Redo" : "Undo"))) return;
	ask(session, redo ? { undo_id: redo } : { turn_id: entry.turn }, say);
}

/** @param {OpenSession} session @param {Record<string, any>} what @param {(text: string) => void} say */
function ask(session, what, say) {
	session.refused = (frame) => {
		session.refused = undefined;
		refused(session, frame, what, say);
		return true;
	};
	session.act({ type: "undo", ...what });
}

/** @param {OpenSession} session @param {Frame} frame @param {Record<string, any>} what @param {(text: string) => void} say */
async function refused(session, frame, what, say) {
	const { code, content, conflicts } = frame;
	if (code === "nothing_to_undo" && conflicts?.length) {
		say(`Nothing was undone. Changed since in the same place: ${someOf(conflicts)}`);
		return;
	}
	const canForce = code === "busy" && session.journal.turn === null && !what.force;
	if (!canForce) say(content);
	else if (await confirmed(`${content} What it writes meanwhile may become a conflict.`, "Undo anyway"))
		ask(session, { ...what, force: true }, say);
}
