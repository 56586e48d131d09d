// What the server reports about the work itself: how much a turn changed, and what was undone. Pure.

/** Most paths that a line names. The rest is counted. */
const NAMED = 5;

/** @param {string[]} paths */
export function someOf(paths) {
	const rest = paths.length - NAMED;
	return paths.slice(0, NAMED).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

/** @param {number} count */
export function filesText(count) {
	return count === 1 ? "1 file" : `${count} files`;
}

/** Take a `checkpoint`, `undo_started` or `undone`. @param {Journal} journal @param {Frame} frame */
export function takeWork(journal, frame) {
	if (frame.type === "checkpoint") saved(journal, frame);
	else if (frame.type === "undone") undone(journal, frame);
	else {
		const of = journal.undos.get(frame.of_undo);
		journal.undos.set(frame.undo_id, of ? { turn: of.turn, back: !of.back } : { turn: frame.turn_id, back: false });
	}
}

/** @param {Journal} journal @param {Frame} frame */
function saved(journal, { position, of_turn: turn, files, added, removed }) {
	const answer = journal.byTurn.get(turn);
	if (position !== "after" || !answer) return;
	answer.changed = { files: files ?? 0, added: added ?? 0, removed: removed ?? 0 };
	journal.dirty.add(answer.key);
}

/** @param {Journal} journal @param {Frame} frame */
function undone(journal, { undo_id: id, files = [], conflicts = [], seq, timestamp: at }) {
	const { turn, back } = journal.undos.get(id) ?? { turn: null, back: false };
	const answer = turn === null ? undefined : journal.byTurn.get(turn);
	if (answer) {
		answer.undo = back ? "" : id;
		journal.dirty.add(answer.key);
	}
	const text = `${back ? "Changes restored" : "Changes undone"}: ${filesText(files.length)}`;
	const note = conflicts.length ? `Left alone, since they were changed in the same place: ${someOf(conflicts)}` : "";
	journal.insert({
		kind: "line",
		key: `l:${seq}`,
		seq,
		place: seq,
		turn: null,
		at,
		tone: "notice",
		text,
		note,
		decision: "",
		by: "",
		grant: "",
	});
}
