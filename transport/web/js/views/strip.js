// What the agent is doing now, in one line: how long, with what, how far.

import { el, setText } from "../dom.js";
import { describe } from "../tools.js";

export class StripView {
	constructor() {
		this.words = el("span.now");
		this.time = el("span.time", { "aria-hidden": "true" });
		this.plan = el("span");
		this.node = el("p.strip", { hidden: true }, el("i"), this.time, this.words, this.plan);
		/** @type {ReturnType<typeof setInterval> | undefined} */
		this.timer = undefined;
		this.since = "";
	}

	/** @param {Journal} journal */
	update(journal) {
		const { running, plan, pending, settings } = journal;
		this.node.hidden = !running;
		this.since = running?.at ?? "";
		if (!running) {
			clearInterval(this.timer);
			this.timer = undefined;
			return;
		}
		this.timer ??= setInterval(() => this.#tick(), 1000);
		const tool = running.tools.findLast((one) => one.output === undefined);
		const { verb, gist } = tool
			? describe(tool.name, tool.input, settings.workspace ?? undefined)
			: { verb: "", gist: "" };
		const doing = running.parts.at(-1)?.kind === "text" ? "Writing" : "Working";
		setText(
			this.words,
			pending.size ? "Waiting for you" : tool ? `${verb} ${gist}`.trim() : running.passing ? "Trying again" : doing,
		);
		const done = plan.filter((one) => one.status === "completed").length;
		setText(this.plan, plan.length ? `to-do ${done}/${plan.length}` : "");
		this.#tick();
	}

	#tick() {
		if (document.visibilityState === "visible" && this.since)
			setText(this.time, clock(Date.now() - Date.parse(this.since)));
	}
}

/** Hours, if any, minutes and seconds. @param {number} ms */
function clock(ms) {
	const seconds = Math.max(0, Math.floor(ms / 1000));
	const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
	const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
	return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}`;
}
