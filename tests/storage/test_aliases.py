"""What stands for the iOS app's own ids, and how an older database gets there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from storage.aliases import Aliases, is_app_device, is_app_session
from storage.data_folder import blob_folder
from storage.errors import StorageCorrupt
from storage.schema import MIGRATIONS, migrate
from storage.sqlite.connection import open_writer
from tests.storage.stores import opened

PHONE = "0A1B2C3D-1111-4222-8333-444444444444"
TAB = "5E6F7A8B-1111-4222-8333-444444444444"
SESSION = f"{PHONE}-claude-{TAB}"
OTHER = f"{PHONE}-codex-{TAB}"
MESSAGE = "99999999-1111-4222-8333-444444444444"
"""A message's id may look like the app's; it is nobody's secret."""

BEFORE_ALIASES = MIGRATIONS[:4]
WEEK_MS = 7 * 86_400_000


@pytest.mark.parametrize(
    "other", ["trip", "", "ios-0123456789ab", PHONE[:-1], f"{PHONE}-claude-", f"x{SESSION}"]
)
def test_other_ids_stay_as_they_are(other: str) -> None:
    aliases = Aliases(b"s")
    assert (aliases.session(other), aliases.device(other)) == (other, other)
    assert not is_app_session(other)
    assert not is_app_device(other)


def test_an_alias_tells_nothing_and_is_always_the_same() -> None:
    aliases = Aliases(b"s")
    made = {aliases.session(SESSION), aliases.session(OTHER), aliases.device(PHONE)}
    assert len(made) == 3
    assert all(len(one) == 16 and one.startswith("ios-") for one in made)
    assert aliases.session(SESSION) == Aliases(b"s").session(SESSION) != Aliases(b"t").session(SESSION)
    assert aliases.session(PHONE) == PHONE, "a UUID alone is the app's device, not its session"
    assert (
        aliases.path(f"/api/sessions/{SESSION}/events") == f"/api/sessions/{aliases.session(SESSION)}/events"
    )
    assert "secret" not in repr(Aliases(b"secret"))


async def test_each_database_has_a_secret_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.db") as one, opened(tmp_path / "b.db") as two:
        first = one.aliases
        assert first != two.aliases
        assert len(first.secret) == 32
    async with opened(tmp_path / "a.db") as again:
        assert again.aliases == first


@pytest.mark.parametrize("value", ["", "zz", "00" * 31])
async def test_a_database_without_a_secret_is_damaged(tmp_path: Path, value: str) -> None:
    path = tmp_path / "a.db"
    async with opened(path):
        pass
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE meta SET value = ? WHERE key = 'app_alias_key'", (value,))
    connection.close()
    with pytest.raises(StorageCorrupt):
        async with opened(path):
            pass


def _old_database(path: Path, *, revoked_at_ms: int | None = None) -> None:
    """Make a database of the version before aliases, with the app's own ids wherever they stood."""
    connection = open_writer(path)
    migrate(connection, path, BEFORE_ALIASES)

    def put(table: str, *rows: tuple[Any, ...]) -> None:
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)

    put("session", *((name, "self", "claude", PHONE, b"{}", 10, 10, 1, 0, 3, 0) for name in (SESSION, OTHER)))
    put("session", ("trip", "self", "claude", "ipad", b"{}", 10, 10, 1, 0, 1, 0))
    snapshot = {
        "queue": {MESSAGE: {"message_id": MESSAGE, "device_id": PHONE}},
        "turn": {"device_id": PHONE},
        "authors": {f"{PHONE} ipad": 3, PHONE: 2},
        "grants": {"ls": PHONE},
    }
    put("summary", (SESSION, 3, "t", "idle", 1, 0, 1, None, 0, json.dumps(snapshot).encode()))
    put("draft", (SESSION, "half"))
    put("label", (PHONE, "first"), ("ipad", "first"))
    put("command", (SESSION, MESSAGE, 1, "answered"))
    said = json.dumps({"v": 1, "message_id": MESSAGE, "content": f"what is {MESSAGE}?"}).encode()
    put("journal", (1, SESSION, 1, 1, "t1", "user_message", PHONE, 10, 1, said))
    decided = {"v": 1, "request_id": MESSAGE, "decision": "allow", "by_device": PHONE}
    put(
        "journal", (2, SESSION, 2, 2, "t1", "permission_resolved", PHONE, 11, 0, json.dumps(decided).encode())
    )
    put("journal", (3, SESSION, 3, 3, "t1", "interrupted", None, 12, 0, b'{"v":1,"by_device":null}'))
    put("journal", (4, "trip", 1, 1, None, "notice", "ipad", 12, 0, b'{"v":1,"code":"x","content":"y"}'))
    connection.execute(
        "INSERT INTO search (rowid, session_id, seq, kind, text) VALUES (1, ?, 1, 'user_message', 'zebra')",
        (SESSION,),
    )
    put("upload_use", (SESSION, "a" * 32 + "_x"))
    put("notification", ("token", "ios", PHONE, "first", 1))
    put("app_pair", (PHONE, SESSION, b"hash", 50), ("ipad", "trip", b"hash", 50))
    put("app_exchange", (1, PHONE, SESSION, MESSAGE, 50, 0))
    put("removal", (f"{PHONE}-claude-{PHONE}",))
    put("device", ("d1", "Lost", "view", b"k", 1, revoked_at_ms))
    connection.close()


def _texts(path: Path) -> dict[str, str]:
    """Return every table's rows as text."""
    connection = apsw.Connection(str(path))
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    tables = {name: repr(connection.execute(f'SELECT * FROM "{name}"').fetchall()) for name in names}
    connection.close()
    return tables


async def test_an_older_database_has_aliases_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    _old_database(path)
    old_blobs = blob_folder(tmp_path, SESSION)
    old_blobs.mkdir(parents=True)
    (old_blobs / ("a" * 64)).write_bytes(b"long")
    async with opened(path) as store:
        session_id, phone = store.aliases.session(SESSION), store.aliases.device(PHONE)
        record = await store.catalog.get(session_id)
        assert record is not None
        assert (record.device_id, record.draft) == (phone, "half")
        assert record.summary is not None
        assert record.summary.snapshot is not None
        kept = json.loads(record.summary.snapshot)
        assert kept["queue"] == {MESSAGE: {"message_id": MESSAGE, "device_id": phone}}
        assert kept["authors"] == {f"{phone} ipad": 3, phone: 2}
        assert (kept["turn"]["device_id"], kept["grants"]) == (phone, {"ls": phone})
        rows = await store.journal.read(session_id, 0, 10)
        assert [row.device_id for row in rows] == [phone, phone, None]
        assert json.loads(rows[1].payload)["by_device"] == phone
        assert MESSAGE in rows[0].payload.decode(), "what people said is left alone"
        assert list(await store.journal.find_commands(session_id, [MESSAGE])) == [MESSAGE]
        assert await store.devices.claim_label(phone, "first")
        assert not await store.devices.claim_label(phone, "another")
        assert [one.message_id for one in await store.app_pairs.open_exchanges(phone, session_id)] == [
            MESSAGE
        ]
        assert await store.app_pairs.owner(phone, session_id, since_ms=0) == b"hash"
        assert (blob_folder(tmp_path, session_id) / ("a" * 64)).read_bytes() == b"long"
        assert await store.catalog.get("trip") is not None
    for name, text in _texts(path).items():
        assert PHONE not in text, name
        assert TAB not in text, name
    with apsw.Connection(str(path)) as connection:
        found = "SELECT session_id FROM search WHERE search MATCH 'zebra'"
        assert connection.execute(found).get == session_id
        assert connection.pragma("integrity_check") == "ok"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_key_that_ends_takes_the_ids_along_that_it_could_read(tmp_path: Path, when: str) -> None:
    path = tmp_path / "x.db"
    _old_database(path, revoked_at_ms=20 if when == "before" else None)
    async with opened(path) as store:
        session_id, phone = store.aliases.session(SESSION), store.aliases.device(PHONE)
        if when == "after":
            assert await store.app_pairs.owner(phone, session_id, since_ms=0) == b"hash"
            assert await store.devices.revoke("d1", now_ms=60)
        assert await store.app_pairs.owner(phone, session_id, since_ms=0) is None
        # A person who noted the ids has them still: a later use with a key does not open them again.
        await store.app_pairs.use(phone, session_id, "key", now_ms=70, keep_ms=WEEK_MS)
        assert await store.app_pairs.owner(phone, session_id, since_ms=0) is None
        # What came after the aliases was never readable.
        await store.app_pairs.use(phone, "ios-new", "key", now_ms=70, keep_ms=WEEK_MS)
        assert await store.app_pairs.owner(phone, "ios-new", since_ms=0) is not None
    async with opened(path) as store:
        assert await store.app_pairs.owner(phone, session_id, since_ms=0) is None


async def test_a_key_revoked_before_the_session_read_nothing(tmp_path: Path) -> None:
    _old_database(tmp_path / "x.db", revoked_at_ms=5)
    async with opened(tmp_path / "x.db") as store:
        pair = store.aliases.device(PHONE), store.aliases.session(SESSION)
        assert await store.app_pairs.owner(*pair, since_ms=0) == b"hash"
