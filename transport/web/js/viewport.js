// The part of the screen above the keyboard. On iOS the keyboard covers the page, and the page learns of it late: the event may
// come before the height is right, and the page may stay scrolled when the keyboard closes.

/** Delays after an event at which the height is read again, in milliseconds. */
const AGAIN_MS = [0, 50, 150, 350, 700];

function fit() {
	const view = window.visualViewport;
	if (!view || view.scale > 1.05) return;
	const { style } = document.documentElement;
	const height = `${Math.round(view.height)}px`;
	if (style.getPropertyValue("--height") !== height) style.setProperty("--height", height);
	document.documentElement.dataset.short = String(view.height < 480);
	// In a dialog the browser itself scrolls the field into view.
	if (window.scrollY && !document.querySelector("dialog[open]")) window.scrollTo(0, 0);
}

/** @type {ReturnType<typeof setTimeout>[]} */
let timers = [];

function fitSoon() {
	timers.forEach(clearTimeout);
	timers = AGAIN_MS.map((ms) => setTimeout(fit, ms));
}

/** Keep the page as high as its visible part. */
export function fitToScreen() {
	const view = window.visualViewport;
	for (const name of ["resize", "scroll"]) view?.addEventListener(name, fitSoon);
	for (const name of ["focusin", "focusout", "pageshow", "orientationchange"]) window.addEventListener(name, fitSoon);
	fit();
}
