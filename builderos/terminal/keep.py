"""What a terminal keeps on disk between two runs: messages that wait, lines that were sent, and how it looks.

In the user's own state folder with mode 0600, a folder for each server. Whatever fails here is survived: the terminal
works without it. Messages are written before anything else happens to them, and leave when the server has them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

__all__ = ["Keep", "Waiting", "state_folder"]

MAX_HISTORY: Final = 500
"""Lines that were sent; the newest are kept."""

MAX_LINE: Final = 20_000
"""Characters of a sent text that history keeps."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a file that are read: 100 messages of 256 KiB, twice over."""


@attrs.frozen
class Waiting:
    """A message that the server may not have yet."""

    session_id: str
    message_id: str
    content: str
    not_before: str | None = None
    agent: str | None = None
    files: list[str] | None = None
    """Addresses of uploads."""


def state_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Return where terminals keep their state."""
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else home / ".local" / "state") / "builderos"


@attrs.define(eq=False)
class Keep:
    """The files of one server. `place` names it: its data folder, or its address."""

    folder: Path
    place: str
    _history: list[str] | None = None

    def settings(self) -> dict[str, Any]:
        """Return how the terminal looks."""
        found = _read_json(self.folder / "settings.json")
        return found if isinstance(found, dict) else {}

    def set(self, **changes: Any) -> None:
        """Change that."""
        self._write(self.folder / "settings.json", orjson.dumps(self.settings() | changes))

    # ---- lines that were sent ----

    def history(self) -> list[str]:
        """Return them, oldest first."""
        if self._history is None:
            lines = _read(self._own / "history.jsonl").splitlines()[-MAX_HISTORY:]
            self._history = [text for line in lines if isinstance(text := _json(line), str)]
        return self._history

    def remember(self, text: str) -> None:
        """Add one."""
        history = self.history()
        if len(text) > MAX_LINE or (history and history[-1] == text):
            return
        history.append(text)
        path = self._own / "history.jsonl"
        if len(history) > 2 * MAX_HISTORY:
            del history[:-MAX_HISTORY]
            self._write(path, b"".join(orjson.dumps(one) + b"\n" for one in history))
        else:
            self._append(path, orjson.dumps(text))

    # ---- messages that wait ----

    def waiting(self) -> list[Waiting]:
        """Return them, oldest first."""
        found: dict[str, Waiting] = {}
        for line in _read(self._outbox).splitlines():
            one = _json(line)
            if not isinstance(one, dict) or not isinstance(one.get("message_id"), str):
                continue
            if one.get("done") is True:
                found.pop(one["message_id"], None)
            elif isinstance(one.get("content"), str) and isinstance(one.get("session_id"), str):
                known: list[Any] = [one.get(field.name) for field in attrs.fields(Waiting)]
                found[one["message_id"]] = Waiting(*known)
        return list(found.values())

    def wait(self, message: Waiting) -> None:
        """Keep a message until it is done, also over the end of this process."""
        self._append(self._outbox, orjson.dumps(attrs.asdict(message)))

    def done(self, message_id: str) -> None:
        """Forget a message that the server has, or that was taken back."""
        self._append(self._outbox, orjson.dumps({"message_id": message_id, "done": True}))
        if self.waiting():
            return
        with suppress(OSError), self._outbox.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another terminal may be writing
            if not self.waiting():
                file.truncate(0)

    # ---- files ----

    @property
    def _own(self) -> Path:
        return self.folder / sha256(self.place.encode()).hexdigest()[:16]

    @property
    def _outbox(self) -> Path:
        return self._own / "outbox.jsonl"

    def _append(self, path: Path, line: bytes) -> None:
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                with suppress(OSError):  # held by a terminal that was stopped at this very moment
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.write(handle, line + b"\n")
            finally:
                os.close(handle)

    def _write(self, path: Path, content: bytes) -> None:
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, content)
            finally:
                os.close(handle)
            new.replace(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return b""


def _json(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError:
        return None


def _read_json(path: Path) -> Any:
    return _json(_read(path))
