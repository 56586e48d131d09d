// "What should we do?": the first message creates the session.

import { el, iconButton } from "../dom.js";
import { recall, remember } from "../identity.js";

export class StartView {
	/** @param {(agent: string, text: string) => Promise<void> | void} begin */
	constructor(begin) {
		this.text = el("textarea", { rows: 1, "aria-label": "What should we do?", placeholder: "What should we do?" });
		this.agent = el("select", { "aria-label": "With agent" });
		this.go = iconButton("Start", "send", () => this.#begin(begin), "primary");
		this.node = el(
			"form.composer",
			{ "aria-label": "New session" },
			el("div.box", this.text, el("div.row", this.agent, el("span.gap"), this.go)),
		);
		this.node.onsubmit = (event) => event.preventDefault();
		this.text.oninput = () => this.#fit();
		this.text.onkeydown = (event) => {
			const touch = matchMedia("(pointer: coarse)").matches;
			if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
			if (touch && !event.metaKey && !event.ctrlKey) return;
			event.preventDefault();
			this.#begin(begin);
		};
		this.text.value = recall("start") ?? "";
		this.told = "";
		this.picked = false;
		this.agent.onchange = () => (this.picked = true);
		this.#fit();
	}

	/** @param {string[]} agents ready ones first */
	update(agents) {
		this.node.hidden = !agents.length;
		const told = agents.join(" ");
		if (told === this.told) return;
		this.told = told;
		const chosen = (this.picked && this.agent.value) || recall("agent") || "";
		this.agent.replaceChildren(...agents.map((name) => el("option", { value: name }, name)));
		if (agents.includes(chosen)) this.agent.value = chosen;
	}

	#fit() {
		remember("start", this.text.value || null);
		this.go.disabled = !this.text.value.trim();
		this.text.style.height = "auto";
		if (this.text.value) this.text.style.height = `${this.text.scrollHeight}px`;
	}

	/** @param {(agent: string, text: string) => Promise<void> | void} begin */
	#begin(begin) {
		const text = this.text.value;
		if (!text.trim() || !this.agent.value) return;
		remember("agent", this.agent.value);
		this.text.value = "";
		this.#fit();
		begin(this.agent.value, text);
	}
}
