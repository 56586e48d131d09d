// Links from paths to files: in rendered answers, and in the output of tools.

import { el, moreStyles } from "../dom.js";
import { placeOf, placesIn } from "../places.js";

/** Most paths of an answer that become links. */
const MOST = 300;

/** @param {import("../places.js").Place} place @param {Acts} acts */
function linkTo(place, acts) {
	const show = () =>
		acts.open(
			() => import("./file.js"),
			(part, session) => part.showFile(session, place.path, acts.say, { line: place.line }),
		);
	return el("button.pathlink", { type: "button", title: `Open ${place.path}`, onclick: show });
}

/** Make links of the paths in a rendered answer. @param {HTMLElement} node @param {Acts} acts */
export function linkPaths(node, acts) {
	if (!acts.mayDrive()) return;
	let made = 0;
	for (const code of node.querySelectorAll(".rendered :not(pre) > code")) {
		const place = made < MOST && !code.closest("a, button") && placeOf(code.textContent ?? "", acts.workspace());
		if (!place) continue;
		const link = linkTo(place, acts);
		code.replaceWith(link);
		link.append(code);
		if (++made === 1) moreStyles();
	}
}

/** The output of a tool, with links to the lines that it names. @param {string} text @param {Acts} acts @returns {(string | Node)[]} */
export function linkedText(text, acts) {
	if (!acts.mayDrive()) return [text];
	return placesIn(text, acts.workspace()).map(({ text: part, place }) => {
		if (!place) return part;
		const link = linkTo(place, acts);
		link.append(part);
		return link;
	});
}
