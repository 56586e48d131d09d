"""One look at a conversation in a program's own record: who has it open, and what others added to it. Blocks.

A look begins where the last one ended (`DeskMark`) and is taken as a whole or not at all, so that nothing is journalled
twice and nothing is left out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from bridgehub.desk.claude_files import ClaudeFiles
from bridgehub.desk.codex_files import CodexFiles
from bridgehub.desk.files import NotReadable
from bridgehub.desk.live.claude_live import live_programs
from bridgehub.desk.live.codex_live import CodexWriters
from bridgehub.desk.records import DeskEvent, DeskLook, DeskMark
from bridgehub.desk.turns import RowParts, Turns

__all__ = ["look_at_claude", "look_at_codex"]


def look_at_claude(
    files: ClaudeFiles, config: Path, ids: Sequence[str], mark: DeskMark | None, *, is_open: bool
) -> DeskLook:
    """Look at the newest conversation among `ids`, or at that of `mark`.

    Args:
        files, config: the person's transcripts, and the folder that has them.
        ids: the conversations that the session has had, oldest first.
        mark: where the last look ended.
        is_open: whether a turn of the desk is open in the journal.
    """
    native_id, path = files.newest(ids)
    if path is None:
        return DeskLook()
    where = live_programs(config).get(native_id)
    if mark is None or mark.native_id != native_id:
        mark = DeskMark(native_id)
    try:
        size = os.stat(path).st_size
        if size <= mark.offset and not is_open:
            return DeskLook(attrs.evolve(mark, offset=min(size, mark.offset)), where, is_open=is_open)
        grown = files.growth(path, min(mark.offset, size), mark)
    except (NotReadable, OSError):
        return DeskLook(mark, where, is_open=is_open)
    closes = (where is None or where.status == "idle") and not grown.more
    events, rests, is_now = _events(grown.rows, mark, is_open=is_open, closes=closes, gone=where is None)
    new = DeskMark(
        native_id,
        grown.offset,
        grown.leaf or mark.leaf,
        rests,
        title=grown.title or mark.title,
        chosen=tuple(sorted(grown.chosen.waiting)),
        answered=grown.chosen.last,
    )
    title = grown.title if grown.title != mark.title else ""
    rewound = _is_rewound(grown.rows, grown.parents, grown.previous)
    return DeskLook(new, where, events, rewound, grown.more, is_now, title, grown.chosen.settings)


def look_at_codex(
    files: CodexFiles,
    writers: CodexWriters,
    thread_id: str,
    mark: DeskMark | None,
    *,
    is_open: bool,
    known: frozenset[str] = frozenset(),
) -> DeskLook:
    """Look at a thread. See `look_at_claude`. `known`: turns that are left out, since the hub reported them."""
    path = files.find(thread_id)
    if path is None:
        return DeskLook()
    where = writers.of(thread_id)
    if mark is None or mark.native_id != thread_id:
        mark = DeskMark(thread_id)
    try:
        size = os.stat(path).st_size
        if size <= mark.offset and not is_open:
            blocking = None if where is not None and where.can_join else where
            return DeskLook(attrs.evolve(mark, offset=min(size, mark.offset)), blocking, is_open=is_open)
        grown = files.growth(path, min(mark.offset, size), in_ours=mark.in_ours, known=known)
    except (NotReadable, OSError):
        return DeskLook(mark, where, is_open=is_open)
    closes = where is None and not grown.more
    events, rests, is_now = _events(grown.rows, mark, is_open=is_open, closes=closes, gone=where is None)
    if where is not None and is_now:
        where = attrs.evolve(where, status="busy")
    where = None if where is not None and where.can_join else where
    name = files.names().get(thread_id, "")
    new = DeskMark(thread_id, grown.offset, "", rests, grown.in_ours, name or mark.title)
    title = name if mark.offset and name != mark.title else ""  # the first look does not report an old name
    return DeskLook(new, where, events, False, grown.more, is_now, title)


def _events(
    rows: Sequence[RowParts], mark: DeskMark, *, is_open: bool, closes: bool, gone: bool
) -> tuple[tuple[DeskEvent, ...], bool, bool]:
    turns = Turns(is_open, mark.rests)
    found: list[DeskEvent] = []
    for row in rows:
        found += turns.take(row)
    if turns.is_open and closes and (turns.rests or gone):
        found += turns.close()
    return tuple(found), turns.rests, turns.is_open


def _is_rewound(rows: Sequence[RowParts], parents: Sequence[str], previous: Sequence[str]) -> bool:
    """Tell whether a person's message follows another row than the one before it."""
    return any(
        row.kind in ("prompt", "command") and before and parent != before
        for row, parent, before in zip(rows, parents, previous, strict=True)
    )
