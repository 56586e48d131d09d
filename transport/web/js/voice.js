// The browser's own speech recognition and voice. Loaded at first use.

/** @type {any} */
const Recognition =
	/** @type {any} */ (window).SpeechRecognition ?? /** @type {any} */ (window).webkitSpeechRecognition;

/** Characters of one utterance: some voices fall silent in a longer one. */
const UTTERANCE = 1500;

/**
 * Listen until stopped.
 * @param {{heard: (text: string, isFinal: boolean) => void, ended: (trouble: string) => void}} listener
 * @returns {() => void} stops it
 */
export function listen({ heard, ended }) {
	const made = new Recognition();
	let trouble = "";
	made.lang = navigator.language;
	made.interimResults = true;
	made.continuous = true;
	made.onresult = (/** @type {any} */ event) => {
		for (let index = event.resultIndex; index < event.results.length; index++) {
			heard(event.results[index][0].transcript, event.results[index].isFinal);
		}
	};
	made.onerror = (/** @type {any} */ event) => {
		if (event.error === "not-allowed") trouble = "The browser may not use the microphone.";
		else if (event.error !== "aborted" && event.error !== "no-speech")
			trouble = `Dictation does not work here (${event.error}).`;
	};
	made.onend = () => ended(trouble);
	made.start();
	return () => made.stop();
}

let turn = 0;

/** Read a text aloud by a button that shows whether it does. Pressed again, it stops. @param {HTMLElement} toggle @param {string} text */
export function readAloud(toggle, text) {
	const show = (/** @type {boolean} */ on) => toggle.setAttribute("aria-pressed", String(on));
	if (toggle.getAttribute("aria-pressed") === "true") return hush();
	show(true);
	speak(text, () => show(false));
}

/** Read a text aloud, in place of the present one. @param {string} text @param {() => void} ended */
function speak(text, ended) {
	hush();
	const mine = ++turn;
	const parts = text.match(new RegExp(`[^]{1,${UTTERANCE}}(?=\\s|$)|[^]{1,${UTTERANCE}}`, "g")) ?? [];
	const next = () => {
		const part = mine === turn ? parts.shift() : undefined;
		if (part === undefined) {
			ended();
			return;
		}
		const said = new SpeechSynthesisUtterance(part);
		said.onend = next;
		said.onerror = next;
		speechSynthesis.speak(said);
	};
	next();
}

export function hush() {
	turn += 1;
	speechSynthesis.cancel();
}

/** Write what is said into a message until the button is pressed again. @param {import("./views/composer.js").ComposerView} composer */
export function dictate(composer) {
	if (composer.hearing) return composer.hush?.();
	const { text, dictate: key } = composer;
	composer.hearing = true;
	key.setAttribute("aria-pressed", "true");
	let before = text.value && !/\s$/.test(text.value) ? `${text.value} ` : text.value;
	composer.hush = listen({
		heard: (words, isFinal) => {
			if (!composer.hearing) return;
			text.value = before + words;
			if (isFinal) before = text.value;
			composer.changed();
		},
		ended: (trouble) => {
			composer.hearing = false;
			key.setAttribute("aria-pressed", "false");
			if (trouble) composer.say(trouble);
		},
	});
}
