"""Reads a database of the system that this program replaces, as plain rows.

It has one table, `sessions`, with a whole conversation as JSON in one column. The old server may have the file open, so
the file is copied first and locked only for the copy. Times stay the texts that they are: local times of a machine that
this module does not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import attrs

from storage.errors import StorageError
from storage.sqlite.connection import APPLICATION_ID

__all__ = [
    "OldAttachment",
    "OldDatabase",
    "OldDatabaseBroken",
    "OldMessage",
    "OldSession",
    "OldSessionBroken",
    "open_old_database",
]

BUSY_TIMEOUT_MS = 10_000
"""How long to wait for a write of the old server. It writes whole conversations, a large one for a second."""

ROLES = ("user", "assistant")

_IDS = "SELECT session_id FROM sessions ORDER BY created_at, session_id"
_ROW = "SELECT agent_type, device_id, data, created_at, last_activity FROM sessions WHERE session_id = ?"


class OldDatabaseBroken(StorageError):
    """The file cannot be imported. The text is one line that names the file and never contains a message."""


class OldSessionBroken(OldDatabaseBroken):
    """One session of it cannot be read; the others can."""


@attrs.frozen
class OldAttachment:
    """The old server's description of a file. `url` led to the file while that server ran."""

    id: str
    filename: str
    mime_type: str
    size: int
    type: str
    url: str


@attrs.frozen
class OldMessage:
    """One message. `role` is `user` or `assistant`. `timestamp` is the old text, empty if there was none."""

    role: str
    content: str
    timestamp: str
    attachments: tuple[OldAttachment, ...] = ()


@attrs.frozen
class OldSession:
    """One conversation as the file has it. `left_out` counts entries that are not a person's or an agent's message."""

    session_id: str
    agent_type: str
    device_id: str
    created_at: str
    last_activity: str
    messages: tuple[OldMessage, ...]
    left_out: int = 0


@attrs.frozen
class OldDatabase:
    """A copy of an old database, open. Only `open_old_database` makes one. Its methods block."""

    path: Path
    _connection: apsw.Connection

    def session_ids(self) -> list[str]:
        """Return all ids, the oldest session first. Raises OldDatabaseBroken."""
        with _named(self.path):
            found = [row[0] for row in self._connection.execute(_IDS)]
        if not all(isinstance(session_id, str) for session_id in found):
            raise OldDatabaseBroken(f"{self.path}: a session has no id")
        return found

    def read(self, session_id: str) -> OldSession | None:
        """Return one session; None if this file has no session of that id. Raises OldDatabaseBroken, OldSessionBroken."""
        with _named(self.path):
            row = self._connection.execute(_ROW, (session_id,)).get
        if row is None:
            return None
        agent_type, device_id, data, created_at, last_activity = row
        messages, left_out = self._messages(session_id, data)
        keys = (_text(agent_type), _text(device_id), _text(created_at), _text(last_activity))
        return OldSession(session_id, *keys, tuple(messages), left_out)

    def _messages(self, session_id: str, data: Any) -> tuple[list[OldMessage], int]:
        try:
            body = json.loads(data)
            found = body.get("messages") or []
            if not isinstance(found, list):
                raise TypeError("messages is not a list")
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise OldSessionBroken(
                f"{self.path}: the session {session_id[:80]!r} cannot be read; its data is not a conversation"
            ) from error
        messages = [_message(item) for item in found if isinstance(item, dict) and item.get("role") in ROLES]
        return messages, len(found) - len(messages)


@contextmanager
def open_old_database(path: Path, copy: Path) -> Iterator[OldDatabase]:
    """Copy the old database at `path` to `copy`, check the copy and read it while inside the block. Blocks.

    Raises:
        OldDatabaseBroken: the file does not exist, is not one of the old server's, or is damaged.
    """
    with _named(path):
        _copy(path, copy)
        connection = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        with _named(path):
            _check(connection, path)
        yield OldDatabase(path, connection)
    finally:
        connection.close()


def _copy(path: Path, copy: Path) -> None:
    if not path.is_file():
        raise OldDatabaseBroken(f"{path}: the file does not exist")
    source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        source.set_busy_timeout(BUSY_TIMEOUT_MS)
        if source.pragma("application_id") == APPLICATION_ID:
            raise OldDatabaseBroken(f"{path}: this is a database of this program, not of the old server")
        source.execute("VACUUM INTO ?", (str(copy),))
    finally:
        source.close()


def _check(connection: apsw.Connection, path: Path) -> None:
    if connection.execute("PRAGMA quick_check(1)").get != "ok":
        raise OldDatabaseBroken(f"{path}: the database is damaged")
    wanted = {"session_id", "agent_type", "device_id", "data", "created_at", "last_activity"}
    if not wanted <= {row[1] for row in connection.execute("PRAGMA table_info(sessions)")}:
        raise OldDatabaseBroken(f"{path}: this is not a database of the old server")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.BusyError as error:
        raise OldDatabaseBroken(
            f"{path}: another program keeps writing to it; stop it and try again"
        ) from error
    except apsw.FullError as error:
        raise OldDatabaseBroken(f"{path}: no disk space for a copy of it; make room and try again") from error
    except (apsw.Error, UnicodeDecodeError) as error:
        raise OldDatabaseBroken(f"{path}: it is not a database, or it is damaged") from error


def _message(body: dict[str, Any]) -> OldMessage:
    metadata = body.get("metadata")
    listed = metadata.get("attachments") if isinstance(metadata, dict) else None
    files = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return OldMessage(
        role=body["role"],
        content=_text(body.get("content")),
        timestamp=_text(body.get("timestamp")),
        attachments=tuple(_attachment(item) for item in files),
    )


def _attachment(body: dict[str, Any]) -> OldAttachment:
    size = body.get("size")
    return OldAttachment(
        id=_text(body.get("id")),
        filename=_text(body.get("filename")) or "file",
        mime_type=_text(body.get("mime_type")) or "application/octet-stream",
        size=size if type(size) is int and 0 <= size < 2**63 else 0,
        type=_text(body.get("type")) or "other",
        url=_text(body.get("url")),
    )


def _text(value: Any) -> str:
    """Return a text that can be stored: None becomes empty, a lone surrogate becomes a question mark."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode()
