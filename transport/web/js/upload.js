// Uploads a file to the server. Uses XMLHttpRequest, because fetch does not report upload progress.

import { ApiError } from "./api.js";

/**
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
