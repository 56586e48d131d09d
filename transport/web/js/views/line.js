// A line in the log that has no author: a decision, a notice.

import { el, setAttr } from "../dom.js";
import { lineText } from "../pieces.js";

export class LineView {
	/** @param {Pick<Acts, "nameOf">} acts */
	constructor(acts) {
		this.acts = acts;
		this.node = el("p.line");
	}

	/** @param {Line} line */
	update(line) {
		setAttr(this.node, "data-tone", line.tone);
		const [first, ...more] = lineText(line, this.acts.nameOf);
		const told = [first, ...more].join("\n");
		if (this.node.textContent === told) return;
		this.node.replaceChildren(el("span", first), ...(more.length ? ["\n", el("small", more.join("\n"))] : []));
	}
}
