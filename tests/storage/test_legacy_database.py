"""Old databases are read as they are, never changed, and named where they cannot be read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from storage.legacy_database import OldDatabaseBroken, OldMessage, OldSession, open_old_database
from tests.builderos.old_server import said, write_old
from tests.storage.stores import opened


def read(path: Path, session_id: str = "trip") -> OldSession:
    with open_old_database(path, path.with_suffix(".copy")) as database:
        found = database.read(session_id)
    path.with_suffix(".copy").unlink()
    assert found is not None
    return found


def test_a_session_is_read_and_the_file_left_alone(tmp_path: Path) -> None:
    file = {"id": "1", "filename": "a.png", "mime_type": "image/png", "size": 3, "type": "photo", "url": "u"}
    path = write_old(tmp_path / "a.db", {"trip": [said(1, "user", "hi", file), said(2, "assistant", "ho")]})
    before = path.read_bytes()
    session = read(path)
    assert [one.content for one in session.messages] == ["hi", "ho"]
    assert session.messages[0].attachments[0].filename == "a.png"
    assert (session.agent_type, session.device_id, session.left_out) == ("claude", "PHONE-1", 0)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.db"]


def test_the_old_server_may_hold_the_file(tmp_path: Path) -> None:
    path = write_old(tmp_path / "a.db", {"trip": [said(1, "user", "hi")]})
    with closing(sqlite3.connect(path)) as server:
        server.execute("BEGIN IMMEDIATE")
        assert len(read(path).messages) == 1
        server.rollback()


def test_odd_entries_are_counted_or_mended(tmp_path: Path) -> None:
    odd = [
        {"role": "system", "content": "no message"},
        "no entry",
        {"role": "user", "content": None},
        {
            "role": "assistant",
            "content": "half \ud800 a character",
            "metadata": {"attachments": ["x", {"size": -1}]},
        },
        {"role": "user", "content": [{"text": "a part"}], "timestamp": 7},
    ]
    session = read(write_old(tmp_path / "a.db", {"trip": [*odd, said(1, "user", "x")]}))  # type: ignore[list-item]
    assert session.left_out == 2
    assert session.messages[0] == OldMessage("user", "", "")
    assert session.messages[1].content == "half ? a character"
    assert session.messages[1].attachments[0].size == 0
    assert session.messages[2] == OldMessage("user", '[{"text": "a part"}]', "7")


def read_all(path: Path) -> None:
    with open_old_database(path, path.with_suffix(".copy")) as database:
        for session_id in database.session_ids():
            database.read(session_id)


def broken(path: Path) -> str:
    with pytest.raises(OldDatabaseBroken) as caught:
        read_all(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_what_is_no_old_database_is_named(tmp_path: Path) -> None:
    assert "does not exist" in broken(tmp_path / "missing.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 100)
    assert "damaged" in broken(tmp_path / "text.db")
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE sessions (id)")
    assert "not a database of the old server" in broken(tmp_path / "other.db")


async def test_our_own_database_is_none(tmp_path: Path) -> None:
    async with opened(tmp_path / "ours.db"):
        await trio.lowlevel.checkpoint()
    assert "of this program" in broken(tmp_path / "ours.db")


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    messages = [said(number, "user", "x" * 500) for number in range(600)]
    path = write_old(tmp_path / "a.db", {"trip": messages, "more": messages})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in broken(path)


@pytest.mark.parametrize("data", ["{", "[]", '{"messages": 7}', "null"])
def test_a_row_that_is_no_conversation_is_named_without_its_text(tmp_path: Path, data: str) -> None:
    path = write_old(tmp_path / "a.db", {"trip": []})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE sessions SET data = ?", (data,))
        connection.commit()
    assert "'trip'" in broken(path)
