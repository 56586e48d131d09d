"""Who trusts a folder already: the person in the agent's own records, the operator, a device earlier. Blocking.

What devices trusted is kept in a folder below the data folder, one small file each, named by a hash of the agent's
kind, the folder and the state of its files. Nothing is written into the person's own records.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from bridgehub.trust.finding import Findings
from bridgehub.trust.reading import MAX_PARENTS, project_folders, read_file

__all__ = ["codex_home", "is_kept", "is_named", "is_trusted_by_claude", "is_trusted_by_codex", "keep"]

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""Claude Code keeps much else in its file; a larger one says nothing here, and the folder is asked about."""


def codex_home(env: dict[str, str]) -> Path:
    """Return where Codex keeps the person's settings and its threads."""
    return Path(env.get("CODEX_HOME") or Path(env.get("HOME") or Path.home()) / ".codex")


def is_named(folder: str, trusted_folders: Iterable[str]) -> bool:
    """Tell whether the operator's list names the folder or one above it."""
    here = Path(os.path.realpath(folder))
    return any(here.is_relative_to(os.path.realpath(name)) for name in trusted_folders)


def is_trusted_by_claude(folder: str, env: dict[str, str]) -> bool:
    """Tell whether the person trusted the folder, or one above it, in Claude Code's own dialog."""
    home = Path(env.get("CLAUDE_CONFIG_DIR") or env.get("HOME") or Path.home())
    data = read_file(home / ".claude.json", MAX_RECORD_BYTES)
    with suppress(orjson.JSONDecodeError):
        projects = _inner(orjson.loads(data or b"{}"), "projects")
        places = (Path(folder), *Path(folder).parents)[:MAX_PARENTS]
        return any(_inner(projects, str(place)).get("hasTrustDialogAccepted") is True for place in places)
    return False


def is_trusted_by_codex(folder: str, home: Path) -> bool:
    """Tell whether the person's Codex config trusts the folder or its project's root."""
    data = read_file(home / "config.toml", MAX_RECORD_BYTES)
    with suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):
        projects = _inner(tomllib.loads((data or b"").decode()), "projects")
        places = (folder, str(project_folders(Path(folder))[-1]))
        return any(_inner(projects, place).get("trust_level") == "trusted" for place in places)
    return False


def is_kept(store: str, kind: str, found: Findings) -> bool:
    """Tell whether a device trusted this very state of the folder."""
    return bool(store) and read_file(_place(store, kind, found)) is not None


def keep(store: str, kind: str, found: Findings) -> None:
    """Keep that a device trusted it, so that it outlives a power cut. Raises OSError."""
    path = _place(store, kind, found)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    told = {
        "kind": kind,
        "folder": found.folder,
        "digest": found.digest,
    }  # for people; its name is what counts
    new = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(told))
        file.flush()
        os.fsync(descriptor)
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _place(store: str, kind: str, found: Findings) -> Path:
    name = hashlib.sha256("\0".join((kind, found.folder, found.digest)).encode(errors="surrogateescape"))
    return Path(store) / name.hexdigest()


def _inner(table: Any, name: str) -> dict[str, Any]:
    inner = table.get(name) if isinstance(table, dict) else None
    return inner if isinstance(inner, dict) else {}
