"""What a browser keeps of the page."""

from __future__ import annotations

__all__ = ["STORED"]

STORED = """async () => {
    const told = [JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage}), document.cookie];
    for (const {name} of await indexedDB.databases()) {
        const database = await new Promise((done, fail) => {
            const opening = indexedDB.open(name);
            opening.onsuccess = () => done(opening.result);
            opening.onerror = () => fail(opening.error);
        });
        for (const store of database.objectStoreNames) {
            const rows = await new Promise((done, fail) => {
                const reading = database.transaction(store).objectStore(store).getAll();
                reading.onsuccess = () => done(reading.result);
                reading.onerror = () => fail(reading.error);
            });
            told.push(JSON.stringify(rows));
        }
        database.close();
    }
    for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const request of await cache.keys()) {
            told.push(request.url, await (await cache.match(request)).text());
        }
    }
    return told.join("\\n");
}"""
"""All that this browser keeps of the page, as text."""
