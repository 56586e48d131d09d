"""`GET /api/capsules`: the capsules of the workspace, from `*/capsule.json` and `capsules/*/capsule.json`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import attrs
import orjson
import trio
from starlette.requests import Request
from starlette.responses import Response

from transport.http.responses import JsonAnswer
from transport.ports import Device

__all__ = ["Capsule", "find_capsules", "list_capsules"]

FILE_BYTES: Final = 64 * 1024
"""A capsule's file has some lines; a longer file is not a capsule's."""

MAX_TEXT: Final = 1000
MAX_CAPSULES: Final = 500
MAX_FOLDERS: Final = 5000
"""Folders to search; a workspace with more is not a list of capsules."""


@attrs.frozen
class Capsule:
    """One capsule, as the app lists it."""

    name: str
    title: str
    purpose: str


async def list_capsules(workspace: Path, _: Request, __: Device) -> Response:
    """Return the capsules."""
    found = await trio.to_thread.run_sync(find_capsules, workspace)
    return JsonAnswer({"count": len(found), "capsules": [attrs.asdict(capsule) for capsule in found]})


def find_capsules(workspace: Path) -> list[Capsule]:
    """Return the capsules, sorted by name, each name once. Blocks. Files that are not capsules are left out."""
    found: dict[str, Capsule] = {}
    for folder in (workspace, workspace / "capsules"):
        for inner in _folders(folder):
            capsule = _read(inner)
            if capsule is not None and len(found) < MAX_CAPSULES:
                found.setdefault(capsule.name, capsule)
    return sorted(found.values(), key=lambda one: one.name)


def _folders(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MAX_FOLDERS) if _is_folder(entry)]
    except OSError:
        return
    for name in sorted(names):
        yield folder / name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # for example a link that leads in a circle
        return False


def _read(folder: Path) -> Capsule | None:
    try:
        # Non-blocking: the name may be a pipe without a writer.
        handle = os.open(folder / "capsule.json", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            raw = file.read(FILE_BYTES + 1)
        body = orjson.loads(raw) if len(raw) <= FILE_BYTES else None
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(body, dict):
        return None

    def text(key: str, otherwise: str) -> str:
        value = body.get(key)
        return value.strip()[:MAX_TEXT] if isinstance(value, str) and value.strip() else otherwise

    name = text("name", os.fsencode(folder.name).decode("utf-8", "replace"))
    return Capsule(name, text("title", name), text("purpose", ""))
