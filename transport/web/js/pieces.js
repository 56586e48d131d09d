// Pieces of text, and the lines that tell how something ended. Pure.

/** The length of a text in code points, which is what the server counts. @param {string} text */
export function pointsOf(text) {
	let pairs = 0;
	for (let index = 0; index < text.length; index++) {
		const unit = text.charCodeAt(index);
		if (unit >= 0xd800 && unit < 0xdc00) {
			const next = text.charCodeAt(index + 1);
			if (next >= 0xdc00 && next < 0xe000) {
				pairs += 1;
				index += 1;
			}
		}
	}
	return text.length - pairs;
}

/** The first so many code points of a text. @param {string} text @param {number} points */
export function firstPoints(text, points) {
	let index = 0;
	for (let count = 0; count < points && index < text.length; count++) {
		index += /** @type {number} */ (text.codePointAt(index)) > 0xffff ? 2 : 1;
	}
	return text.slice(0, index);
}

/**
 * Take a piece: what a block had up to its offset, and then it. Right for live, joined and folded pieces alike.
 * @param {Block[]} blocks in the order of their first appearance
 * @param {Frame} frame
 */
export function takePiece(blocks, frame) {
	const last = blocks.at(-1);
	let block = last?.id === frame.block ? last : blocks.find((one) => one.id === frame.block);
	if (!block) blocks.push((block = { id: frame.block, text: "", points: 0 }));
	if (frame.offset !== block.points) block.text = firstPoints(block.text, frame.offset);
	block.text += frame.content;
	block.points = frame.offset + pointsOf(frame.content);
}

/** How a turn ended, where it did not just finish. @param {Frame} frame @param {string} by */
export function endingText(frame, by) {
	if (frame.type === "error") return frame.content;
	if (frame.type === "interrupted") return frame.by_device ? `Stopped by ${by}` : "Stopped";
	return "";
}

/** @param {Frame} frame */
export function noticeText(frame) {
	const wait = typeof frame.retry_in_s === "number" ? ` Next try in ${Math.round(frame.retry_in_s)} s.` : "";
	return frame.content + wait;
}
