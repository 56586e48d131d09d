// Shows the work beside the conversation: in a third pane on a wide screen, else in a dialog over the whole page.

import { el, iconButton } from "../dom.js";
import { openDialog } from "./dialogs.js";

/** A screen with room for a third pane. */
export const WIDE = "(min-width: 1280px) and (min-height: 480px)";

/**
 * Show something until the person closes it or leaves the session.
 * @param {string} name @param {HTMLElement} content @param {boolean} [over] whether the present content returns afterwards
 */
export function openPane(name, content, over = false) {
	const place = document.querySelector(".conversation");
	if (place && matchMedia(WIDE).matches) return third(place, name, content, over);
	openDialog(name, content).classList.add("full");
}

/** @param {Element} place @param {string} name @param {HTMLElement} content @param {boolean} over */
function third(place, name, content, over) {
	const before = document.activeElement;
	const shown = [...place.querySelectorAll("section.third")];
	const below = over ? /** @type {HTMLElement | undefined} */ (shown.at(-1)) : undefined;
	if (!over) for (const one of shown) one.remove();
	if (below) below.hidden = true;
	const close = () => {
		node.remove();
		if (below) below.hidden = false;
		if (before instanceof HTMLElement) before.focus();
	};
	const shut = iconButton("Close", "close", close);
	const node = el("section.third", { "aria-label": name, tabindex: -1 }, el("header", el("h2", name), shut), content);
	node.onkeydown = (event) => event.key === "Escape" && close();
	place.append(node);
	shut.focus();
	addEventListener("hashchange", () => node.remove(), { once: true });
}
