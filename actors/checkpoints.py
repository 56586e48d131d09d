"""Finds a session's checkpoints in its journal: the truth about which there are, and around which turns."""

from __future__ import annotations

import attrs

from actors.events.codec import decode_row
from actors.events.session import Checkpoint
from actors.ports import Journal

__all__ = ["Around", "checkpoints_around"]

PAGE_ROWS = 200


@attrs.frozen
class Around:
    """The checkpoints before and after a turn, by id; None where there is none (yet)."""

    before: str | None = None
    after: str | None = None


async def checkpoints_around(journal: Journal, session_id: str, turn_id: str) -> Around:
    """Return the checkpoints of a turn. Raises StorageError."""
    found: dict[str, str] = {}
    before: int | None = None
    while rows := await journal.read(
        session_id, 0, PAGE_ROWS, before=before, kinds={Checkpoint.kind}, newest=True
    ):
        for row in reversed(rows):
            event = decode_row(row).event
            if isinstance(event, Checkpoint) and event.of_turn == turn_id:
                found.setdefault(event.position, event.checkpoint_id)
        if "before" in found:  # the one after a turn stands behind it
            break
        before = rows[0].seq
    return Around(found.get("before"), found.get("after"))
