"""One real server for the tests of rights, with a key of each scope and with all that must open nothing.

Keys and codes are in its folder before it starts, so that an ended code is one that a real clock has ended.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from storage.data_folder import blob_path, open_data_folder
from storage.tables.devices import DeviceRow as StoredDevice
from storage.tables.pairings import PAIRING_MS, Pairing
from tests.e2e.shared_server import Shared, run_shared
from tests.storage.stores import opened
from tests.support.device import Device, open_device

__all__ = ["BLOB", "KEYS", "SCOPES", "STRANGERS", "Guarded", "code", "run_guarded"]

SCOPES: Final = ("view", "approve", "drive", "admin")

KEYS: Final = {scope: f"key-that-may-{scope}-0123456789" for scope in SCOPES}
"""A good key of each scope; its device's id is the scope."""

STRANGERS: Final = {
    "no key": None,
    "a wrong key": "key-of-nobody-0123456789",
    "half a key": KEYS["admin"][:-1],
    "a revoked key": "key-that-was-revoked-0123456789",
    "a device's id": "admin",
    "the hash of a key": sha256(KEYS["admin"].encode()).hexdigest(),
    "a used code": "code-that-was-used-0123456789",
    "an ended code": "code-that-has-ended-0123456789",
    "a revoked key's code": "code-of-the-revoked-0123456789",
}
"""What opens nothing at all, neither a call nor a connection nor a pairing."""

BLOB: Final = b"a tool's long output " * 100
"""Lies in session `seen`, under its SHA-256."""

PASSING_TABLES: Final = frozenset({"agent_offer", "alert", "app_exchange", "audit", "consumer", "summary"})
"""What changes beside a refusal: that it took place is on record; of what was before, summaries, what an agent offers,
how much the iOS app has seen and alerts come late. Alerts are made of the journal and the read marks alone."""

CONFIG: Final = """
trusted_proxies = ["127.0.0.0/8"]
[system]
sleep_command = ["touch", "{slept}"]
[agents.claude]
kind = "echo"
[agents.codex]
kind = "echo"
"""


def code(scope: str) -> str:
    """Return a code that is good still and makes a device of this scope."""
    return f"code-for-{scope}-0123456789"


@attrs.frozen
class Guarded:
    """The server, and what lies in its folder."""

    shared: Shared
    slept: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.shared.url

    def device(self, key: str | None, **how: Any) -> AbstractAsyncContextManager[Device]:
        """Return a device with this key."""
        return open_device(self.url, key, **how)

    async def connect(self) -> trio.SocketStream:
        """Return a bare connection."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return await trio.open_tcp_stream(host, int(port))

    def state(self) -> dict[str, Any]:
        """Return all that lasts: each table but the audit, each file, and whether the machine was sent to sleep."""
        found: dict[str, Any] = {"slept": self.slept.exists()}
        data = self.shared.data
        for place in ("uploads", "blobs"):
            found[place] = sorted(str(path) for path in (data / place).rglob("*"))
        with closing(sqlite3.connect(f"file:{data / 'builderos.db'}?mode=ro", uri=True)) as database:
            names = database.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
            ).fetchall()
            for (name,) in names:
                if name not in PASSING_TABLES:
                    found[name] = database.execute(f"SELECT * FROM {name}").fetchall()
        # The one moves by itself, the other with each look whether storage takes writes (`GET /api/status`).
        found["meta"] = [row for row in found["meta"] if row[0] not in ("commit_mark", "probes")]
        assert {"device", "pairing", "journal", "session"} <= set(found), found.keys()
        return found

    def words(self) -> str:
        """Return what the server wrote into its logs."""
        folder = self.shared.data.parent
        return (folder / "stderr.log").read_text() + (self.shared.data / "server.log").read_text()


@contextmanager
def run_guarded(folder: Path) -> Iterator[Guarded]:
    """Run the server inside the block."""
    slept = folder / "slept"
    with open_data_folder(folder / "data") as data:
        trio.run(_fill, data.database_path)
        path = blob_path(data.path, "seen", sha256(BLOB).hexdigest())
        assert path is not None
        path.parent.mkdir(mode=0o700)
        path.write_bytes(BLOB)
        path.chmod(0o600)
    with run_shared(folder, CONFIG.format(slept=slept)) as shared:
        yield Guarded(shared, slept)


async def _fill(database: Path) -> None:
    async with opened(database) as store:
        now_ms = int(time.time() * 1000)
        for scope, key in KEYS.items():
            await store.devices.add(name=f"{scope}s", scope=scope, key=key, device_id=scope, now_ms=now_ms)
        gone = str(STRANGERS["a revoked key"])
        await store.devices.add(name="gone", scope="admin", key=gone, device_id="gone", now_ms=now_ms)

        async def open_code(code: str, scope: str, made_by: str, until_ms: int) -> None:
            pairing = Pairing(b"", None, scope, made_by, until_ms)
            assert await store.pairings.open(code, pairing, now_ms=until_ms - PAIRING_MS)

        later_ms = now_ms + PAIRING_MS
        for scope in SCOPES:
            await open_code(code(scope), scope, "admin", later_ms)
        await open_code(str(STRANGERS["an ended code"]), "admin", "admin", now_ms - 1)
        await open_code(str(STRANGERS["a revoked key's code"]), "admin", "gone", later_ms)
        used = str(STRANGERS["a used code"])
        await open_code(used, "admin", "admin", later_ms)
        pairing = store.pairings.find(used, now_ms=now_ms)
        assert pairing is not None
        paired = StoredDevice("paired", "paired", "admin", now_ms, None)
        assert await store.pairings.redeem(pairing, paired, "key-of-the-paired-0123456789")
        assert await store.devices.revoke("gone", now_ms=now_ms)
