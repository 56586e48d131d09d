// Swipes on a row of the inbox. To the left: archive the session, or take it out of the archive. To the right: pin or unpin it.
// The session's details have the same actions, for people who do not swipe.

import { moreStyles } from "../dom.js";

/** The distance at which a finger's direction decides, in pixels. */
const FAR = 90;
/** From this distance it is a swipe, if it goes sideways at least twice as far as up or down. */
const NEAR = 12;
/** The browser's own gestures begin at the screen's edges. */
const EDGE = 28;

/** @typedef {{pinned?: boolean, archived?: boolean}} What */

/** What would happen if the finger lifts here. @param {SessionInfo} one @param {number} dx @returns {[string, What] | null} */
export function meant({ pinned, archived }, dx) {
	if (dx < 0 && archived !== undefined)
		return [archived ? "Move out of the archive" : "Archive", { archived: !archived }];
	if (dx > 0 && pinned !== undefined) return [pinned ? "Unpin" : "Pin", { pinned: !pinned }];
	return null;
}

/**
 * Follow a finger that has just touched the list.
 * @param {TouchEvent} event @param {(id: string) => SessionInfo | undefined} find @param {(id: string, what: What) => void} act
 */
export function follow(event, find, act) {
	const [touch] = event.touches;
	const link = /** @type {HTMLAnchorElement | null | undefined} */ (
		/** @type {Element} */ (event.target).closest?.(".item")
	);
	const one = find(decodeURIComponent(link?.hash.slice(4) ?? ""));
	if (!touch || !link || !one || event.touches.length > 1) return;
	const { clientX: x, clientY: y } = touch;
	if (x < EDGE || x > innerWidth - EDGE) return;
	const row = /** @type {HTMLElement} */ (link.parentElement);
	let dx = 0;
	let sideways = false;
	moreStyles();
	const stop = new AbortController();
	const end = () => {
		stop.abort();
		link.style.translate = "";
		delete row.dataset.swipe;
	};
	const { signal } = stop;
	link.addEventListener(
		"touchmove",
		(moved) => {
			const at = /** @type {Touch} */ (moved.touches[0]);
			dx = at.clientX - x;
			const dy = Math.abs(at.clientY - y);
			if (!sideways && dy > NEAR) return end(); // it scrolls
			sideways ||= Math.abs(dx) > NEAR && Math.abs(dx) > 2 * dy;
			const would = sideways ? meant(one, dx) : null;
			link.style.translate = would ? `${Math.max(-2 * FAR, Math.min(2 * FAR, dx))}px` : "";
			if (would && Math.abs(dx) >= FAR) row.dataset.swipe = would[0];
			else delete row.dataset.swipe;
		},
		{ passive: true, signal },
	);
	link.addEventListener("touchcancel", end, { signal });
	link.addEventListener(
		"touchend",
		() => {
			const would = sideways && Math.abs(dx) >= FAR ? meant(one, dx) : null;
			end();
			if (would) act(one.session_id, would[1]);
		},
		{ signal },
	);
}
