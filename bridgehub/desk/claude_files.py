"""Claude Code's transcripts: the list of them, one whole, and what was added to one. Blocks: use a thread.

Nothing here writes. A transcript is looked at by its first and last bytes for the list, and again only if its time or
size has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from bridgehub.desk.claude_rows import OUR_WAYS, Branch, read_branch, row_id, row_parts
from bridgehub.desk.claude_settings import MODE_ROW, Chosen
from bridgehub.desk.files import Described, NotReadable, backwards, forwards, open_record, parse
from bridgehub.desk.records import DeskMark, DeskSession, list_text
from bridgehub.desk.turns import RowParts

__all__ = ["ClaudeFiles", "Growth"]

MAX_PROJECTS = 5000
MAX_TRANSCRIPTS = 20_000
"""Files that are looked at; the rest of a larger home is left out."""

WHOLE_BYTES = 512 * 1024
"""A transcript up to this size is read whole for the list, a larger one by its two ends."""

HEAD_BYTES, TAIL_BYTES = 192 * 1024, 64 * 1024

YOUNG_NS = 3_000_000_000
"""A folder that changed so recently may have changed again in the same tick of its clock."""

GROWTH_BYTES = 8 * 1024 * 1024
"""Of what was added to a transcript, how much is read at once."""


@attrs.frozen
class Growth:
    """What was added to a transcript by others than our own programs.

    Attributes:
        rows: what they say, in the order of the file.
        offset: the place after the last row that was read.
        leaf: the newest row.
        parents: for each of `rows`, the row before it in the tree.
        previous: for each of `rows`, the row before it in the file; empty if none was read.
        more: whether there is more to read.
        title: the newest title; empty if none was read.
        chosen: what somebody chose in a terminal.
    """

    rows: list[RowParts]
    offset: int
    leaf: str
    parents: list[str]
    previous: list[str]
    more: bool
    title: str
    chosen: Chosen


@attrs.define(eq=False)
class ClaudeFiles:
    """The transcripts below one `.claude` folder."""

    config: Path
    _now_ms: Callable[[], int]
    _described: Described = attrs.field(factory=lambda: Described(_describe))
    _folders: dict[str, tuple[int, frozenset[str]]] = attrs.field(factory=dict)

    def sessions(self) -> tuple[list[DeskSession], int]:
        """Return all sessions that can be read, and how many cannot."""
        return self._described.sessions(self._paths())

    def find(self, native_id: str) -> str | None:
        """Return the path of a session's transcript; None if there is none."""
        return self.newest([native_id])[1] if row_id(native_id) == native_id else None

    def newest(self, ids: Sequence[str]) -> tuple[str, str | None]:
        """Return the last of `ids` that has a transcript, and its path."""
        self._look_at_folders()
        for native_id in reversed(ids):
            for folder, (_, names) in self._folders.items():
                if native_id in names:
                    return native_id, f"{folder}/{native_id}.jsonl"
        return "", None

    def _look_at_folders(self) -> None:
        """Read the names again of folders that have changed."""
        found: dict[str, tuple[int, frozenset[str]]] = {}
        for folder in _scan(self.config / "projects", MAX_PROJECTS):
            try:
                changed = os.stat(folder.path).st_mtime_ns
            except OSError:
                continue
            known = self._folders.get(folder.path)
            is_young = self._now_ms() * 1_000_000 - changed < YOUNG_NS
            if known is None or known[0] != changed or is_young:
                entries = _scan(folder.path, MAX_TRANSCRIPTS)
                names = (
                    entry.name.removesuffix(".jsonl") for entry in entries if entry.name.endswith(".jsonl")
                )
                known = (changed, frozenset(filter(row_id, names)))
            found[folder.path] = known
        self._folders = found

    def branch(
        self,
        path: str,
        end: int,
        *,
        messages: int,
        size: int | None = None,
        wanted: Collection[str] = (),
    ) -> Branch:
        """Read the conversation as it stood when the file had `end` bytes. See `read_branch`. Raises NotReadable."""
        with open_record(path) as file:
            read = partial(read_branch, messages=messages, size=size, wanted=wanted)
            branch = read(backwards(file, end))
            return branch if branch.leaf else read(backwards(file, end), heeds_note=False)

    def growth(self, path: str, offset: int, mark: DeskMark) -> Growth:
        """Read what was added after `offset`, where the last look ended at `mark`. Raises NotReadable."""
        rows: list[RowParts] = []
        parents: list[str] = []
        previous: list[str] = []
        end, title, leaf, told = offset, "", mark.leaf, Chosen(set(mark.chosen), mark.answered)
        with open_record(path) as file:
            for place, line in forwards(file, offset, GROWTH_BYTES):
                end = place
                row = parse(line) if line else None
                if row is not None and row.get("type") == "custom-title":
                    title = list_text(row.get("customTitle"))
                elif row is not None and row.get("type") == MODE_ROW:
                    told.take(row, is_ours=False)
                if row is None or row.get("isSidechain") is True or not row_id(row.get("uuid")):
                    continue
                before, leaf = leaf, row_id(row.get("uuid"))
                is_ours = row.get("entrypoint") in OUR_WAYS
                said = None if is_ours else row_parts(row)
                told.take(row, is_ours=is_ours)
                if said is not None:
                    rows.append(said)
                    parents.append(row_id(row.get("parentUuid")))
                    previous.append(before)
        return Growth(rows, end, leaf, parents, previous, end - offset >= GROWTH_BYTES, title, told)

    def _paths(self) -> Iterator[tuple[str, os.stat_result]]:
        count = 0
        for folder in _scan(self.config / "projects", MAX_PROJECTS):
            for entry in _scan(folder.path, MAX_TRANSCRIPTS):
                name, dot, ending = entry.name.partition(".")
                if dot + ending != ".jsonl" or not row_id(name):
                    continue
                count += 1
                if count > MAX_TRANSCRIPTS:
                    return
                try:
                    yield entry.path, entry.stat()
                except OSError:
                    continue


def _scan(folder: Path | str, limit: int) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for place, entry in enumerate(entries):
                if place >= limit:
                    return
                yield entry
    except OSError:
        return


def _describe(path: str, told: os.stat_result) -> DeskSession | None:
    """Return a transcript's entry in the list; None if nobody has said anything in it. Raises NotReadable."""
    with open_record(path) as file:
        size = told.st_size
        if size <= WHOLE_BYTES:
            data, tail = file.read(WHOLE_BYTES), b""
        else:
            data = file.read(HEAD_BYTES)
            tail = _last(file, size)
    head, damaged = _Words(), 0
    for line in data.split(b"\n"):
        damaged += head.take(line)
    end = _Words()
    for line in tail.split(b"\n")[1:]:
        end.take(line)
    if not head.first and not end.first:
        if head.rows == 0 and damaged:
            raise NotReadable(path)
        return None
    count = head.prompts
    if tail:
        count = max(1, (head.prompts + end.prompts) * size // (len(data) + len(tail)))
    title = end.title or head.title
    return DeskSession(
        native_id=Path(path).stem,
        title=list_text(title or head.first or end.first),
        workspace=list_text(head.cwd or end.cwd),
        first_message=list_text(head.first or end.first),
        last_activity_ms=told.st_mtime_ns // 1_000_000,
        message_count=2 * count,
        path=path,
    )


def _last(file: BinaryIO, size: int) -> bytes:
    file.seek(size - TAIL_BYTES)
    return file.read(TAIL_BYTES)


@attrs.define
class _Words:
    """What the list shows of some rows. Only rows that may matter are parsed."""

    rows: int = 0
    prompts: int = 0
    first: str = ""
    title: str = ""
    cwd: str = ""

    def take(self, line: bytes) -> int:
        """Look at a row; return 1 if it is damaged."""
        if not line:
            return 0
        is_title = b'-title"' in line[:200] or b'"type":"summary"' in line[:200]
        if not is_title:
            if line[:1] == b"{" and line[-1:] == b"}" and self.rows and b'"type":"user"' not in line:
                return 0
            if b'"tool_use_id"' in line or b'"isMeta":true' in line:
                self.rows += 1
                return 0
        row = parse(line)
        if row is None:
            return 1
        self.rows += 1
        self._note(row)
        return 0

    def _note(self, row: dict[str, Any]) -> None:
        if not self.cwd and isinstance(row.get("cwd"), str):
            self.cwd = row["cwd"]
        for name in ("customTitle", "aiTitle", "summary"):
            if isinstance(row.get(name), str) and (name == "customTitle" or not self.title):
                self.title = row[name]
        if row.get("type") != "user":
            return
        said = row_parts(row)
        if said is not None and said.kind == "prompt":
            self.prompts += 1
            self.first = self.first or (said.text or "")[:2000]
