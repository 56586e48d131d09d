"""Backups for tests: folders with sessions, and what they hold."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from builderos.commands.backup import run_backup, run_restore
from storage.read_only import open_reading
from tests.builderos.commands.test_import_ import options, rows
from tests.builderos.old_server import said, write_old
from tests.e2e.shared_server import open_http
from tests.support.device import Json
from tests.support.server import Server

__all__ = [
    "NOW_MS",
    "acts_of",
    "copied",
    "make",
    "path_of",
    "restored_from",
    "saved_to",
    "sessions",
    "upload",
    "whole",
]


NOW_MS = 1_790_000_000_000


def whole(data: Path) -> dict[str, bytes]:
    """Return every file of a data folder but its lock, by path."""
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and path.name != "lock"
    }


async def upload(server: Server, content: bytes) -> Json:
    async with open_http(server) as http:
        answer = await http.post(
            "/api/files/upload", files={"file": ("note.txt", content, "text/plain")}, data={"type": "file"}
        )
        found: Json = answer.json()
        return found


def path_of(upload: Json) -> str:
    """Return where an upload is had from; the port is another one after each start."""
    parts = urlsplit(upload["url"])
    return f"{parts.path}?{parts.query}"


def saved_to(file: Path, data: Path) -> int:
    return run_backup(file, data, now_ms=NOW_MS)


def restored_from(file: Path, data: Path) -> int:
    return run_restore(file, data, now_ms=NOW_MS)


def make(data: Path, tmp_path: Path, name: str, text: str) -> None:
    """Give `data` a session `name`, without a server."""
    from builderos.commands.import_ import run_import

    file = write_old(tmp_path / f"{name}.db", {name: [said(0, "user", text), said(1, "assistant", "hi")]})
    assert run_import(options(data, file)) == 0


def sessions(data: Path) -> list[Any]:
    return rows(data, "SELECT session_id, epoch FROM session ORDER BY session_id")


def copied(file: Path, data: Path, place: Path) -> tuple[Path, Path]:
    shutil.copytree(data, place / "data")
    shutil.copy(file, place / "saved.tar")
    return place / "saved.tar", place / "data"


async def acts_of(data: Path) -> list[str]:
    async with open_reading(data / "builderos.db") as reading:
        return [row.act.act for row in await reading.audit.page(0)]
