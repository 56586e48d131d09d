// An agent's steps in an old turn. The page has only the turn's text until the person asks for the steps.

import { dropBlock, finishTool, startTool } from "../entries.js";
import { takePiece } from "../pieces.js";

const PAGE = 500;
/** Most events of one turn that are read. */
const MOST = 20_000;

const ENDS = new Set(["complete", "error", "interrupted"]);

/** Fetch a turn's events and put its parts in order. @param {OpenSession} session @param {AnswerEntry} entry */
export async function showSteps(session, entry) {
	const { client, journal, id } = session;
	/** @type {AnswerEntry} */
	const made = { ...entry, parts: [], blocks: [], tools: [], past: false };
	try {
		let after = entry.seq - 1;
		for (let read = 0, ended = false; !ended && read < MOST; read += PAGE) {
			const page = await client.api.json(
				`/api/sessions/${encodeURIComponent(id)}/events?after_seq=${after}&limit=${PAGE}`,
			);
			for (const one of page.events) if (one.turn_id === entry.turn) take(made, one);
			ended =
				page.next_after === null ||
				page.events.some((/** @type {Frame} */ one) => one.turn_id === entry.turn && ENDS.has(one.type));
			after = page.next_after ?? after;
		}
	} catch {
		client.views.say("Couldn't fetch the steps of this turn.");
		return;
	}
	const index = journal.entries.indexOf(entry);
	if (index < 0 || session.journal !== journal) return;
	journal.entries[index] = made;
	journal.byTurn.set(made.turn, made);
	journal.dirty.add(made.key);
	client.views.session();
}

/** @param {AnswerEntry} answer @param {Frame} frame */
function take(answer, frame) {
	if (frame.type === "message" || frame.type === "thinking") takePiece(answer, frame);
	else if (frame.type === "tool_started") startTool(answer, frame);
	else if (frame.type === "tool_finished") finishTool(answer, frame);
	else if (frame.type === "block_dropped") dropBlock(answer, frame.block);
}
