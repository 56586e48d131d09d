// The changes between two texts, line by line. Pure.

/** Most lines of either side for a minimal diff. Above that, the old text is shown as removed and the new one as added. */
const MOST = 600;

/** @typedef {{sign: " " | "+" | "-" | "@", text: string}} Line */

/** @param {string} before @param {string} after @returns {Line[]} */
export function diffLines(before, after) {
	const [a, b] = [splitLines(before), splitLines(after)];
	let start = 0;
	while (start < a.length && start < b.length && a[start] === b[start]) start++;
	let end = 0;
	while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
	const same = (/** @type {string} */ text) => /** @type {Line} */ ({ sign: " ", text });
	return [
		...a.slice(0, start).map(same),
		...between(a.slice(start, a.length - end), b.slice(start, b.length - end)),
		...a.slice(a.length - end).map(same),
	];
}

/** @param {string} text */
function splitLines(text) {
	if (text === "") return [];
	return (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
}

/** @param {string[]} a @param {string[]} b @returns {Line[]} */
function between(a, b) {
	if (a.length > MOST || b.length > MOST || !a.length || !b.length) {
		return [...a.map((text) => line("-", text)), ...b.map((text) => line("+", text))];
	}
	const width = b.length + 1;
	const longest = new Uint16Array((a.length + 1) * width);
	const at = (/** @type {number} */ i, /** @type {number} */ j) => longest[i * width + j] ?? 0;
	for (let i = a.length - 1; i >= 0; i--) {
		for (let j = b.length - 1; j >= 0; j--) {
			longest[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
		}
	}
	/** @type {Line[]} */
	const found = [];
	let [i, j] = [0, 0];
	while (i < a.length || j < b.length) {
		if (i < a.length && j < b.length && a[i] === b[j]) {
			found.push(line(" ", a[i++] ?? ""));
			j++;
		} else if (i < a.length && (j === b.length || at(i + 1, j) >= at(i, j + 1))) found.push(line("-", a[i++] ?? ""));
		else found.push(line("+", b[j++] ?? ""));
	}
	return found;
}

/** @param {Line["sign"]} sign @param {string} text @returns {Line} */
function line(sign, text) {
	return { sign, text };
}

/** Read a text that is already a diff. @param {string} text @returns {Line[]} */
export function readDiff(text) {
	return splitLines(text).map((one) => {
		if (one.startsWith("@@")) return line("@", one);
		const sign = one[0];
		return sign === "+" || sign === "-" ? line(sign, one.slice(1)) : line(" ", one.replace(/^ /, ""));
	});
}

/**
 * The file changes that a tool's input names, in the formats of the agents' tools.
 * @param {any} input
 * @returns {{path: string, lines: Line[]}[]}
 */
export function changesOf(input) {
	if (!input || typeof input !== "object") return [];
	const path = String(input.file_path ?? input.path ?? input.notebook_path ?? "");
	if (typeof input.old_string === "string" && typeof input.new_string === "string") {
		return [{ path, lines: diffLines(input.old_string, input.new_string) }];
	}
	if (Array.isArray(input.edits)) {
		return [
			{
				path,
				lines: input.edits.flatMap((/** @type {any} */ one) => [
					line("@", "@@"),
					...diffLines(String(one?.old_string ?? ""), String(one?.new_string ?? "")),
				]),
			},
		];
	}
	if (Array.isArray(input.changes))
		return input.changes.filter((/** @type {any} */ one) => typeof one?.diff === "string").map(changeOf);
	if (path && typeof input.content === "string") return [{ path, lines: diffLines("", input.content) }];
	return [];
}

/** For an added or deleted file the diff is its bare content. @param {any} one */
function changeOf(one) {
	const path = String(one.move_path ? `${one.path} → ${one.move_path}` : one.path);
	if (one.kind === "add") return { path, lines: diffLines("", one.diff) };
	return { path, lines: one.kind === "delete" ? diffLines(one.diff, "") : readDiff(one.diff) };
}

/** Read a patch of git. Returns its lines without the header. @param {string} patch @returns {Line[]} */
export function readPatch(patch) {
	const start = patch.search(/^@@/m);
	return start < 0 ? [] : readDiff(patch.slice(start)).filter((one) => !one.text.startsWith("\\ No newline"));
}

/** @typedef {Line & {number: number}} NumberedLine */

/** The lines of a patch with numbers: of the old file for a removed line, else of the new file; 0 if it has none. @param {string} patch @returns {NumberedLine[]} */
export function numbered(patch) {
	let [before, after] = [0, 0];
	return readPatch(patch).map((one) => {
		if (one.sign === "@") {
			const [, from, to] = /^@@ -(\d+)(?:,\d+)? \+(\d+)/.exec(one.text) ?? [];
			[before, after] = [Number(from ?? 0), Number(to ?? 0)];
			return { ...one, number: 0 };
		}
		const number = one.sign === "-" ? before : after;
		if (one.sign !== "+") before++;
		if (one.sign !== "-") after++;
		return { ...one, number };
	});
}

/**
 * Lines as rows of old and new: removed lines beside the added ones that replace them. The header of a hunk has its own row.
 * @param {NumberedLine[]} lines @returns {(NumberedLine | null)[][]}
 */
export function paired(lines) {
	/** @type {(NumberedLine | null)[][]} */
	const rows = [];
	/** @type {NumberedLine[]} */
	let removed = [];
	let offset = 0; // from a line's number in the new text to that in the old text
	const flush = () => {
		for (const line of removed) rows.push([line, null]);
		removed = [];
	};
	for (const line of lines) {
		if (line.sign === "+") {
			rows.push([removed.shift() ?? null, line]);
			offset--;
			continue;
		}
		if (line.sign === "-") {
			removed.push(line);
			offset++;
			continue;
		}
		flush();
		if (line.sign === "@") {
			const [, from, to] = /^@@ -(\d+)(?:,\d+)? \+(\d+)/.exec(line.text) ?? [];
			offset = Number(from ?? 0) - Number(to ?? 0);
			rows.push([line]);
		} else rows.push([{ ...line, number: line.number + offset }, line]);
	}
	flush();
	return rows;
}
