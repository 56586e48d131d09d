"""Shows a session's work in a terminal: changes, folders and files; long texts go through the user's pager."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

import attrs
import trio

from builderos.client.state import RefusedError
from builderos.client.terminal import one_line, sanitise
from builderos.client.wire.frames import Frame
from builderos.client.wire.http import call
from builderos.client.wire.server import LinkLostError, NoServerError, Server

__all__ = ["SessionWork", "changes_text", "entries_text"]

PAGER = "less -FRX"
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of changes: 4 MiB of patches, which take more as JSON."""

_SIGNS = {"added": "A", "modified": "M", "deleted": "D", "renamed": "R", "mode": "m"}


@attrs.define(eq=False)
class SessionWork:
    """The checkpoints and undos of one session, as its events report them, and the calls about them.

    Attributes:
        find: returns the server's current address.
        show: writes text to the terminal.
    """

    find: Callable[[], Server]
    session_id: str
    show: Callable[[str], object]
    is_tty: bool
    last_turn: str | None = None
    last_undo: str | None = None

    def note(self, frame: Frame) -> None:
        """Record an event."""
        if frame.kind == "checkpoint" and frame.text("position") == "after":
            self.last_turn = frame.text("of_turn") or self.last_turn
        elif frame.kind == "undone":
            self.last_undo = frame.text("undo_id") or self.last_undo

    def undo_fields(self, words: Sequence[str]) -> Mapping[str, object] | None:
        """Return the fields of an `undo` frame for `/undo [force]` and `/redo`; None if there is nothing to undo."""
        force = "force" in words[1:]
        if words[0] == "/redo":
            return None if self.last_undo is None else {"undo_id": self.last_undo, "force": force}
        return None if self.last_turn is None else {"turn_id": self.last_turn, "force": force}

    async def changes(self, words: Sequence[str]) -> None:
        """Show what the last turn changed; with `all` everything since the beginning."""
        if "all" not in words[1:] and self.last_turn is None:
            self.show("— no turn of this session has been saved yet; /changes all shows everything —\n")
            await trio.lowlevel.checkpoint()
            return
        query = {} if "all" in words[1:] else {"turn": self.last_turn or ""}
        told = await self._get("changes", query)
        if told is not None:
            await self._page(changes_text(told))

    async def files(self, path: str) -> None:
        """Show a folder or a file of the workspace; after a `?` the names that match."""
        if path.startswith("?"):
            told = await self._get("files", {"q": path[1:].strip()})
        else:
            told = await self._get("files", {"path": path}, quiet="not_a_folder")
        if told is None:
            told = await self._get("file", {"path": path})
            if told is not None:
                await self._page(sanitise(str(told.get("content", ""))))
            return
        if told:
            await self._page(entries_text(told))

    async def _get(self, what: str, query: Mapping[str, str], *, quiet: str = "") -> Mapping[str, Any] | None:
        """Return an answer; an empty one if an error was shown, None if the error is that of `quiet`."""
        path = f"/api/sessions/{self.session_id}/{what}?{urlencode(query)}"
        try:
            return await trio.to_thread.run_sync(self._call, path)
        except RefusedError as refused:
            if refused.code == quiet:
                return None
            self.show(f"— refused, {one_line(refused.code)}: {one_line(str(refused))} —\n")
        except (LinkLostError, NoServerError) as error:
            self.show(f"— {one_line(str(error))} —\n")
        return {}

    def _call(self, path: str) -> Mapping[str, Any]:
        return call(self.find(), "GET", path, most_bytes=MAX_ANSWER_BYTES)

    async def _page(self, text: str) -> None:
        """Show a text: on a terminal through the pager, if there is one."""
        if self.is_tty:
            command = shlex.split(os.environ.get("PAGER") or PAGER)
            environment = {**os.environ, "LESSSECURE": "1"}
            run = partial(trio.run_process, command, stdin=text.encode(), check=False, env=environment)
            try:
                await run()
            except (OSError, ValueError, subprocess.SubprocessError):
                self.show(text)
            return
        self.show(text)
        await trio.lowlevel.checkpoint()


def changes_text(told: Mapping[str, Any]) -> str:
    """Return the answer of `/changes` as text: a line for each file, then the patches."""
    files = [one for one in told.get("files") or () if isinstance(one, dict)]
    if not files:
        return "— nothing changed —\n"
    lines = [_file_line(one) for one in files]
    if told.get("truncated"):
        lines.append("… more files or longer patches are left out")
    patches = [sanitise(one["patch"]).rstrip("\n") for one in files if isinstance(one.get("patch"), str)]
    return "\n".join([*lines, "", *patches]).rstrip("\n") + "\n"


def _file_line(file: Mapping[str, Any]) -> str:
    old = file.get("old_path")
    name = one_line(str(file.get("path")), 500)
    shown = f"{one_line(str(old), 500)} → {name}" if old else name
    count = "binary" if file.get("binary") else f"+{file.get('added')} −{file.get('removed')}"
    return f"{_SIGNS.get(str(file.get('status')), '?')} {shown}  {count}"


def entries_text(told: Mapping[str, Any]) -> str:
    """Return a folder's entries, or those of a search, a line each."""
    entries = [one for one in told.get("entries") or () if isinstance(one, dict)]
    if not entries:
        return "— nothing found —\n"
    lines = [_entry_line(one) for one in entries]
    return "\n".join([*lines, *(["… and more"] if told.get("truncated") else [])]) + "\n"


def _entry_line(entry: Mapping[str, Any]) -> str:
    name = one_line(str(entry.get("path") or entry.get("name")), 500)
    mark = {"folder": "/", "link": "@"}.get(str(entry.get("kind")), "")
    return f"{name}{mark}{'  (ignored)' if entry.get('ignored') is True else ''}"
