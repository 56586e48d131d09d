// A comment on a line of a diff. It goes into the person's message with the path, the line number and the line's text.

import { button, el } from "../dom.js";

/** Most characters of the line that are quoted. */
const QUOTED = 300;

/**
 * The text that a comment adds to the message.
 * @param {string} path @param {import("./patch.js").NumberedLine} line @param {string} words
 */
export function commentText(path, { sign, text, number }, words) {
	const what = sign === "-" ? `removed line ${number}` : `line ${number}`;
	const quote = text.length > QUOTED ? `${text.slice(0, QUOTED)} …` : text;
	return `\`${path}\`, ${what}:\n> ${sign === " " ? "" : sign}${quote}\n\n${words}`;
}

/**
 * Ask for a comment below a line. Only one form is open at a time.
 * @param {OpenSession} session @param {string} path @param {import("./patch.js").NumberedLine} line @param {HTMLElement} row
 * @param {(() => void) | null} openFile shows the file at that line
 */
export function commentOn(session, path, line, row, openFile) {
	for (const one of document.querySelectorAll("form.comment")) one.remove();
	const text = el("textarea", { rows: 2, "aria-label": `Comment on line ${line.number}`, placeholder: "Comment" });
	const done = (/** @type {HTMLElement | null} */ note) => {
		form.replaceWith(...(note ? [note] : []));
		/** @type {HTMLElement | null} */ (row.closest(".patch"))?.focus({ preventScroll: true });
	};
	const form = el(
		"form.comment",
		text,
		el(
			"div.choice",
			el("button.primary", "Add to message"),
			openFile && button("Open file here", openFile),
			button("Cancel", () => done(null)),
		),
	);
	form.onsubmit = (event) => {
		event.preventDefault();
		const words = text.value.trim();
		if (!words) return text.focus();
		const draft = session.draft.text.trimEnd();
		session.propose(`${draft ? `${draft}\n\n` : ""}${commentText(path, line, words)}\n`);
		done(el("p.commented", { role: "status" }, el("b", "In your message: "), words));
	};
	form.onkeydown = (event) => {
		if (event.key === "Escape") done(null);
		else if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) form.requestSubmit();
		else return;
		event.preventDefault();
		event.stopPropagation();
	};
	row.after(form);
	text.focus();
}
