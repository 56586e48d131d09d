"""Codex's rollouts: the list of them, one whole, and what was added to one. Blocks: use a thread. Nothing here writes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from bridgehub.desk.claude_rows import ROW_COSTS, row_id
from bridgehub.desk.codex_rows import CodexRows, item_of
from bridgehub.desk.files import Described, NotReadable, backwards, forwards, open_record, parse
from bridgehub.desk.records import DeskSession, list_text
from bridgehub.desk.turns import RowParts

__all__ = ["CodexFiles", "CodexGrowth"]

MAX_FOLDERS = 20_000
MAX_ROLLOUTS = 20_000
"""What is looked at; the rest of a larger home is left out."""

WHOLE_BYTES = 512 * 1024
HEAD_BYTES = 192 * 1024
NAMES_BYTES = 4 * 1024 * 1024
"""The newest names that are read; older threads keep their first message as a title."""

GROWTH_BYTES = 8 * 1024 * 1024

_NAME = re.compile(r"rollout-.{10,40}-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.jsonl")


@attrs.frozen
class CodexGrowth:
    """What was added to a rollout, but for turns that began here.

    Attributes:
        offset: the place after the last row.
        in_ours: whether that is in the middle of a turn that began here.
    """

    rows: list[RowParts]
    offset: int
    in_ours: bool
    more: bool


@attrs.define(eq=False)
class CodexFiles:
    """The rollouts below one `CODEX_HOME`."""

    home: Path
    _described: Described = attrs.field(factory=lambda: Described(_describe))
    _paths_of: dict[str, str] = attrs.field(factory=dict)
    _names: dict[str, str] = attrs.field(factory=dict)
    _names_of: tuple[int, int] = (0, 0)

    def sessions(self) -> tuple[list[DeskSession], int]:
        """Return all sessions that can be read, and how many cannot."""
        found, unreadable = self._described.sessions((path, status) for _, path, status in self._rollouts())
        names = self.names()
        return [
            attrs.evolve(one, title=names[one.native_id]) if one.native_id in names else one for one in found
        ], unreadable

    def names(self) -> dict[str, str]:
        """Return the newest names that threads got, from the file to which Codex adds each."""
        path = self.home / "session_index.jsonl"
        try:
            told = os.stat(path)
            stamp = told.st_size, told.st_mtime_ns
            if stamp != self._names_of:
                with open_record(str(path)) as file:
                    file.seek(max(0, told.st_size - NAMES_BYTES))
                    rows = map(parse, file.read(NAMES_BYTES).split(b"\n"))
                    named = (
                        (row_id(row.get("id")), list_text(row.get("thread_name"))) for row in rows if row
                    )
                    self._names = {native_id: name for native_id, name in named if native_id and name}
                self._names_of = stamp
        except (OSError, NotReadable):
            return {}
        return self._names

    def find(self, native_id: str) -> str | None:
        """Return the path of a thread's rollout; None if there is none."""
        if row_id(native_id) != native_id:
            return None
        known = self._paths_of.get(native_id)
        if known is None or not os.path.isfile(known):
            self._paths_of = {name: path for name, path, _ in self._rollouts()}
        return self._paths_of.get(native_id)

    def history(self, path: str, end: int, *, messages: int, size: int) -> tuple[list[RowParts], bool]:
        """Read the newest turns before `end`, oldest first, and whether older ones were left out. Raises NotReadable."""
        lines: list[bytes] = []
        is_cut = False
        with open_record(path) as file:
            for line in backwards(file, end):
                if b'"event_msg"' not in line[:200]:
                    continue
                if messages <= 0 or size <= 0:
                    is_cut = True
                    break
                lines.append(line)
                size -= len(line) + ROW_COSTS
                messages -= b'"UserMessage"' in line or b'"user_message"' in line
        rows = CodexRows()
        told = (rows.take(row) for row in map(parse, reversed(lines)) if row is not None)
        return [one for one in told if one is not None], is_cut

    def growth(
        self, path: str, offset: int, *, in_ours: bool = False, known: frozenset[str] = frozenset()
    ) -> CodexGrowth:
        """Read what was added after `offset`, without the turns `known`. Raises NotReadable."""
        rows, found, end = CodexRows(leaves_out_ours=True, in_ours=in_ours, known=known), [], offset
        with open_record(path) as file:
            for place, line in forwards(file, offset, GROWTH_BYTES):
                end = place
                row = parse(line) if b'"event_msg"' in line[:200] else None
                told = None if row is None else rows.take(row)
                if told is not None:
                    found.append(told)
        return CodexGrowth(found, end, rows.in_ours, more=end - offset >= GROWTH_BYTES)

    def _rollouts(self) -> Iterator[tuple[str, str, os.stat_result]]:
        folders, looked = [str(self.home / "sessions")], 0
        count = 0
        while folders and looked < MAX_FOLDERS:
            looked += 1
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError:
                continue
            for entry in entries:
                name = _NAME.fullmatch(entry.name)
                try:
                    if name is None and entry.name.isdecimal() and entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif name is not None and count < MAX_ROLLOUTS:
                        count += 1
                        yield name[1], entry.path, entry.stat()
                except OSError:
                    continue


def _describe(path: str, told: os.stat_result) -> DeskSession | None:
    """Return a rollout's entry in the list; None if it is not a person's conversation. Raises NotReadable."""
    with open_record(path) as file:
        data = file.read(WHOLE_BYTES if told.st_size <= WHOLE_BYTES else HEAD_BYTES)
    native_id = path.removesuffix(".jsonl")[-36:]
    begun, _, rest = data.partition(b"\n")
    meta = parse(begun)
    if meta is None:
        raise NotReadable(path)
    payload = meta.get("payload")
    if meta.get("type") != "session_meta" or not isinstance(payload, dict):
        raise NotReadable(path)
    if not isinstance(payload.get("source"), str | None):
        return None  # a sub-agent's
    first = title = ""
    count = 0
    for line in rest.split(b"\n"):
        if b'"UserMessage"' not in line and b'"user_message"' not in line and b"thread_name" not in line:
            continue
        row = parse(line)
        told_item = None if row is None else item_of(row)
        if row is None or told_item is None:
            continue
        if isinstance(told_item[0].get("thread_name"), str):
            title = told_item[0]["thread_name"]
        said = CodexRows().take(row)
        if said is not None and said.kind == "prompt":
            count += 1
            first = first or said.text or ""
    if not first:
        return None
    if told.st_size > len(data):
        count = max(count, count * told.st_size // len(data))
    return DeskSession(
        native_id=native_id,
        title=list_text(title or first),
        workspace=list_text(payload.get("cwd")),
        first_message=list_text(first),
        last_activity_ms=told.st_mtime_ns // 1_000_000,
        message_count=2 * count,
        path=path,
    )
