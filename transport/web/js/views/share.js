// Gives a file to the person: as a download, or through the system's share sheet in an app that is installed on a phone, where
// a download would cover the app without a way back.

import { el } from "../dom.js";

/** @param {Blob} blob @param {string} name */
export async function saveFile(blob, name) {
	const file = new File([blob], name, { type: blob.type });
	if (matchMedia("(display-mode: standalone)").matches && navigator.canShare?.({ files: [file] })) {
		await navigator.share({ files: [file], title: name }).catch((error) => {
			if (error?.name !== "AbortError") throw error; // the person closed the sheet, which is an answer too
		});
		return;
	}
	const url = URL.createObjectURL(blob);
	el("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** @param {Api} api @param {string} url @param {string} name @param {(text: string) => void} say */
export async function saveFrom(api, url, name, say) {
	try {
		await saveFile(await (await api.fetch(url)).blob(), name);
	} catch {
		say("Couldn't fetch the file.");
	}
}
