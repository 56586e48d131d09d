// Keyboard shortcuts. A letter counts only while the person is not writing.

/** @typedef {Record<"palette" | "create" | "search" | "write" | "next" | "previous" | "help", () => void>} KeyActs */

/** @param {KeyActs} acts */
export function listenForKeys(acts) {
	/** @type {Record<string, keyof KeyActs>} */
	const letters = { n: "create", "/": "search", m: "write", j: "next", k: "previous", "?": "help" };
	addEventListener("keydown", (event) => {
		if (event.isComposing || event.altKey || event.defaultPrevented) return;
		if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k" && !event.shiftKey) {
			event.preventDefault();
			acts.palette();
			return;
		}
		const at = /** @type {HTMLElement | null} */ (event.target);
		if (
			event.metaKey ||
			event.ctrlKey ||
			at?.closest("input, textarea, select, dialog, [role=alertdialog], [role=tree]")
		)
			return;
		const act = letters[event.key];
		if (!act) return;
		event.preventDefault();
		acts[act]();
	});
}
