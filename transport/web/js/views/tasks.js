// Delegated work as a tree, with the usual keys of a tree: arrows, Home, End.

import { button, el, setText } from "../dom.js";

export class TasksView {
	/** @param {(id: string) => void} stop ends work in the background */
	constructor(stop) {
		this.stop = stop;
		this.tree = el("ul", { role: "tree", "aria-label": "Delegated work" });
		this.tree.addEventListener("keydown", (event) => this.#onKey(event));
		this.count = el("span");
		this.node = el(
			"section.tasks",
			{ "aria-label": "Tasks", hidden: true },
			el("p.label", "Tasks ", this.count),
			this.tree,
		);
		this.told = "";
	}

	/** @param {Map<string, Task>} tasks */
	update(tasks) {
		const list = [...tasks.values()];
		this.node.hidden = !list.length;
		const told = JSON.stringify(list);
		if (told === this.told) return;
		this.told = told;
		const open = list.filter((one) => one.state === "running").length;
		setText(this.count, `${list.length - open} of ${list.length}`);
		const focused = document.activeElement?.getAttribute("data-task");
		const roots = list.filter((one) => !one.parent || !tasks.has(one.parent));
		this.tree.replaceChildren(...roots.map((one) => this.#item(one, list)));
		const items = this.#items();
		const current = items.find((one) => one.dataset.task === focused);
		for (const one of items) one.tabIndex = one === (current ?? items[0]) ? 0 : -1;
		current?.focus();
	}

	/** @param {Task} task @param {Task[]} all @returns {HTMLElement} */
	#item(task, all) {
		const inner = all.filter((one) => one.parent === task.id && one !== task);
		const more = task.state === "running" ? task.progress : (task.result ?? "");
		return el(
			"li",
			{
				role: "treeitem",
				"data-task": task.id,
				"data-state": task.state,
				tabindex: -1,
				...(inner.length ? { "aria-expanded": "true" } : {}),
			},
			el(
				"span.task",
				el("b", task.title),
				" ",
				el("span.word", task.state),
				task.agent ? el("small", ` ${task.agent}`) : null,
			),
			more ? el("small.more", more) : null,
			task.background && task.state === "running" ? this.#stop(task) : null,
			inner.length ? el("ul", { role: "group" }, ...inner.map((one) => this.#item(one, all))) : null,
		);
	}

	/** @param {Task} task */
	#stop(task) {
		const key = button("Stop", () => this.stop(task.id), "quiet");
		key.setAttribute("aria-label", `Stop ${task.title}`);
		return key;
	}

	#items() {
		return /** @type {HTMLElement[]} */ ([...this.tree.querySelectorAll("[role=treeitem]")]);
	}

	/** @param {KeyboardEvent} event */
	#onKey(event) {
		const items = this.#items();
		const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
		/** @type {Record<string, number>} */
		const goals = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1, ArrowRight: at + 1 };
		const parent = items[at]?.parentElement?.closest("[role=treeitem]");
		const goal =
			event.key === "ArrowLeft" && parent ? items.indexOf(/** @type {HTMLElement} */ (parent)) : goals[event.key];
		const next = goal === undefined ? undefined : items[goal];
		if (!next) return;
		event.preventDefault();
		for (const one of items) one.tabIndex = one === next ? 0 : -1;
		next.focus();
	}
}
