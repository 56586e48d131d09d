"""Databases as the old server wrote them, made for tests."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

__all__ = ["SCHEMA", "Old", "said", "write_old"]

SCHEMA = """
CREATE TABLE sessions(session_id TEXT PRIMARY KEY, agent_type TEXT NOT NULL, device_id TEXT NOT NULL,
  data TEXT NOT NULL, created_at TEXT NOT NULL, last_activity TEXT NOT NULL);
CREATE INDEX idx_device_agent ON sessions(device_id, agent_type);
"""

Old = dict[str, Any]


def said(minute: int, role: str, content: str, *files: Mapping[str, Any]) -> Old:
    """Return a message of the old server, so many minutes after nine on a winter's day."""
    at = f"2025-11-03T{9 + minute // 60:02d}:{minute % 60:02d}:00.000123"
    metadata = {"attachments": list(files)} if files else None
    return {"role": role, "content": content, "timestamp": at, "metadata": metadata}


def write_old(path: Path, sessions: Mapping[str, Sequence[Old]], agent: str = "claude") -> Path:
    """Write a database with these sessions; return its path."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        rows: Iterable[tuple[str, ...]] = (
            (session_id, agent, "PHONE-1", _data(session_id, messages), *_times(messages))
            for session_id, messages in sessions.items()
        )
        connection.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    return path


def _times(messages: Sequence[Old]) -> tuple[str, str]:
    start = "2025-11-03T09:00:00"
    return start, messages[-1]["timestamp"] if messages else start


def _data(session_id: str, messages: Sequence[Old]) -> str:
    body: Old = {
        "session_id": session_id,
        "messages": messages,
        "system_context": "the whole CLAUDE.md " * 100,
        "capsule_context": None,
        "metadata": {},
    }
    return json.dumps(body)
