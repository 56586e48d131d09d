// Files of a message: read when they are chosen, uploaded when it is sent.

import { ApiError } from "./api.js";
import { sizeText } from "./dom.js";

/** The server's limits. */
const MAX_FILE_BYTES = 50_000_000;
const MAX_FILES = 32;

/**
 * Upload a file. Uses XMLHttpRequest, because fetch does not report upload progress.
 * @param {string} key @param {Blob} blob @param {string} name @param {(part: number) => void} progress from 0 to 1
 * @returns {Promise<{url: string}>}
 */
export function upload(key, blob, name, progress) {
	return new Promise((resolve, reject) => {
		const request = new XMLHttpRequest();
		const form = new FormData();
		form.append("file", blob, name);
		form.append("type", blob.type.startsWith("image/") ? "image" : "file");
		request.open("POST", "/api/files/upload");
		request.setRequestHeader("Authorization", `Bearer ${key}`);
		request.responseType = "json";
		request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
		request.onerror = request.onabort = () => reject(new ApiError(0, "Upload failed."));
		request.onload = () => {
			if (request.status === 200) resolve(request.response);
			else reject(new ApiError(request.status, request.response?.error?.message ?? "The upload was refused."));
		};
		request.send(form);
	});
}

/**
 * Add files to a message that is being written.
 * @param {import("./views/composer.js").ComposerView} composer @param {File[]} files
 * @returns {Promise<boolean>} whether its session is still the one on the screen
 */
export async function read(composer, files) {
	const { session } = composer;
	for (const file of files) {
		const { name, type, size } = file;
		if (size > MAX_FILE_BYTES) composer.say(`${name} is over ${sizeText(MAX_FILE_BYTES)}.`);
		else if (composer.files.length >= MAX_FILES) composer.say(`A message has at most ${MAX_FILES} files.`);
		else {
			const bytes = await file.arrayBuffer().catch(() => null);
			if (composer.session !== session) return false;
			if (bytes) composer.files.push({ name, type, size, bytes });
			else composer.say(`Couldn't read ${name}.`);
		}
	}
	return true;
}
