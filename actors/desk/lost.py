"""What was said in a session and is not in the agent's own record, for its next prompt.

Two programs that write to one conversation each continue from their own place; the record then keeps one of the branches.
"""

from __future__ import annotations

from typing import Final

from actors.desk.watching import DeskWatch
from actors.events.codec import decode_row
from actors.events.conversation import BranchLeft, Complete, Message, TurnStarted, UserMessage
from actors.events.history import RowsBackwards
from actors.session.steps.desk_steps import native_id_of
from bridgehub.desk.records import DESK

__all__ = ["read_lost"]

ROWS: Final = 500
MAX_ROWS: Final = 2000
"""Rows of the journal that are searched, from the newest."""

MAX_CHARS: Final = 100_000

_KINDS: Final = (UserMessage.kind, TurnStarted.kind, Message.kind, Complete.kind, BranchLeft.kind)
_WORDS: Final = (
    "The following was said in this conversation while it was open in two places, and is missing from your own"
    " record of it. It is for you to know; the person's new message comes after it."
)


async def read_lost(watch: DeskWatch, turn_id: str) -> str:
    """Return the turns before `turn_id` that the record lacks, as one text; empty if it lacks none.

    Raises:
        StorageError: the journal could not be read.
    """
    if await watch.on_branch(frozenset()) is None:
        return ""
    said: dict[str, list[str]] = {}
    rows_of: dict[str, set[str]] = {}
    left = {turn_id}
    state = watch.state
    pages = RowsBackwards(watch.journal, state.session_id, _KINDS, state.head_seq + 1, MAX_ROWS, ROWS)
    while rows := await pages.next_page():
        for row in rows:
            event, of = decode_row(row).event, row.turn_id or ""
            match event:
                case BranchLeft():
                    left.update(event.turn_ids)
                case UserMessage() | Message():
                    name = "user" if isinstance(event, UserMessage) else "assistant"
                    said.setdefault(of, []).append(f"[{name}]\n{event.content}")
                case TurnStarted(cause=cause) if cause == DESK:
                    rows_of.setdefault(of, set()).add(native_id_of(of))
                case Complete(agent_position=position) if position:
                    rows_of.setdefault(of, set()).add(str(position.get("message")))
                case _:
                    pass
    wanted = frozenset(name for names in rows_of.values() for name in names)
    kept = await watch.on_branch(wanted)
    if kept is None:
        return ""
    texts: list[str] = []
    size = 0
    for of, names in rows_of.items():
        if names <= kept:
            continue
        text = "\n\n".join(reversed(said.get(of, [])))
        size += len(text)
        if of not in left and text and size <= MAX_CHARS:
            texts.append(text)
    body = "\n\n".join(reversed(texts))
    return f"<said-elsewhere>\n{_WORDS}\n\n{body}\n</said-elsewhere>" if body else ""
