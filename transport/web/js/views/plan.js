// The agent's to-do list.

import { el, setText } from "../dom.js";
import { drawTodo } from "./toolbody.js";

export class PlanView {
	constructor() {
		this.head = el("summary");
		this.list = el("div");
		this.node = el("details.plan-list", this.head, this.list);
		this.node.open = matchMedia("(min-width: 1280px)").matches;
		this.told = "";
	}

	/** @param {PlanEntry[]} entries */
	update(entries) {
		const told = JSON.stringify(entries);
		if (told === this.told) return;
		this.told = told;
		this.node.hidden = !entries.length;
		const done = entries.filter((one) => one.status === "completed").length;
		setText(this.head, `To-do ${done} of ${entries.length}`);
		this.list.replaceChildren(drawTodo(entries));
	}
}
