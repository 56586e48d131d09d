"""Watches a session's conversation for what a terminal of the person's does to it, while its actor lives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import attrs
import trio

from actors.events.codec import decode_row
from actors.events.conversation import Complete, TurnStarted
from actors.events.history import RowsBackwards
from actors.ports import Journal
from actors.session.inputs import DeskSeen
from actors.session.mailbox import Mailbox
from actors.session.state import SessionState
from actors.session.steps.desk_steps import native_id_of
from bridgehub.desk.live.changes import Watched
from bridgehub.desk.records import DESK, DeskHistory, DeskLook, DeskMark, Where

__all__ = ["DeskWatch", "LooksAtDesk"]

log = logging.getLogger("builderos.actors")

MAX_LOOKS = 8
"""Looks before one prompt; each reads up to 8 MiB."""

LEFT_ROWS = 500
MAX_ROWS = 20_000
"""Rows of the journal that are searched for turns that a rewind left."""


class LooksAtDesk(Protocol):
    """Reads what the person's own programs keep; implemented by `bridgehub.desk.programs.Desk`."""

    @property
    def places(self) -> trio.Semaphore:
        """One for each session that may be followed."""
        ...

    def has(self, agent: str) -> bool:
        """Return whether an agent's program may have sessions in a terminal that can be followed."""
        ...

    async def look(
        self,
        agent: str,
        conversation: str,
        memory: Mapping[str, Any],
        mark: DeskMark | None,
        *,
        is_open: bool,
        known: frozenset[str] = frozenset(),
    ) -> DeskLook:
        """Look at what others did to a session's conversation since `mark`."""
        ...

    def watch(
        self, agent: str, conversation: Callable[[], str], memory: Callable[[], Mapping[str, Any]]
    ) -> AbstractContextManager[Watched]:
        """Follow a session while inside the block: note whenever its conversation may have changed outside."""
        ...

    async def history(self, agent: str, native_id: str) -> DeskHistory:
        """Read a conversation. Raises NoSuchSession."""
        ...

    async def where(self, agent: str, conversation: str, memory: Mapping[str, Any]) -> Where | None:
        """Return which program of the person's has a session's conversation open; None if none has."""
        ...

    async def on_branch(
        self,
        agent: str,
        conversation: str,
        memory: Mapping[str, Any],
        wanted: frozenset[str],
        *,
        end: int | None = None,
    ) -> frozenset[str] | None:
        """Return which of the `wanted` rows the conversation consists of now; None if its record has no branches."""
        ...

    async def end(self, where: Where) -> bool:
        """Ask the program that has a session open to end; return whether it was asked."""
        ...


@attrs.define(eq=False)
class DeskWatch:
    """Looks at one session's conversation. `conversation` gives the id of the session's own conversation."""

    desk: LooksAtDesk
    state: SessionState
    journal: Journal
    mailbox: Mailbox
    conversation: Callable[[], str]

    async def look(self) -> list[DeskSeen]:
        """Return all that is new, as inputs that follow each other."""
        state = self.state
        mark, is_open, found = state.desk, state.is_at_desk, list[DeskSeen]()
        for _ in range(MAX_LOOKS):
            look = await self._look(mark, is_open=is_open)
            found.append(DeskSeen(mark, look, await self._left(look)))
            mark, is_open = look.mark, look.is_open
            if not look.more:
                break
        return found

    async def where(self) -> Where | None:
        """Return who has the session open now."""
        state = self.state
        return await self.desk.where(state.agent_type, self.conversation(), state.agent_memory or {})

    async def on_branch(self, wanted: frozenset[str], *, end: int | None = None) -> frozenset[str] | None:
        """Return which of these rows the conversation has, as the agent would take it up; None if that is not known.

        `end`: how many bytes of its record count; None: all.
        """
        state = self.state
        memory = state.agent_memory or {}
        return await self.desk.on_branch(state.agent_type, self.conversation(), memory, wanted, end=end)

    async def run(self) -> None:
        """Look whenever something has changed, until cancelled."""
        async with self.desk.places:
            with self.desk.watch(
                self.state.agent_type, self.conversation, lambda: self.state.agent_memory or {}
            ) as watched:
                await self._run(watched)

    async def _run(self, watched: Watched) -> None:
        while True:
            await watched.wait()
            state = self.state
            if state.turn is not None and not state.is_at_desk:
                if not watched.is_moved:
                    continue  # what was added waits for the turn's end
                watched.is_moved = False
                where = await self.where()
                if where != state.where:
                    await self.mailbox.put_from_hub(DeskSeen(None, DeskLook(where=where)))
                continue
            watched.is_moved = watched.is_grown = False
            seen = (await self.look())[:1]
            if any(self._is_news(one) for one in seen):
                await self.mailbox.put_from_hub(seen[0])
                watched.is_grown = True  # look again: there may be more, or it came too late to count
            watched.is_grown |= state.is_at_desk

    def _is_news(self, seen: DeskSeen) -> bool:
        state, look = self.state, seen.look
        is_held = look.where is not None and state.hub_id is not None and state.turn is None
        return bool(
            look.events or seen.left or is_held or look.where != state.where or look.mark != state.desk
        )

    async def _look(self, mark: DeskMark | None, *, is_open: bool) -> DeskLook:
        state = self.state
        return await self.desk.look(
            state.agent_type,
            self.conversation(),
            state.agent_memory or {},
            mark,
            is_open=is_open,
            known=frozenset(native_id_of(one) for one in state.live),
        )

    async def _left(self, look: DeskLook) -> tuple[str, ...]:
        """Return the turns that are not on the branch that the conversation is on now."""
        if not look.rewound or look.mark is None:
            return ()
        where = look.where or self.state.where
        # What was said here while a terminal had the session open was not left: nobody saw it there.
        together_ms = where.since_ms if where is not None and where.since_ms else None
        ends: list[tuple[str, str]] = []  # of each turn, newest first: a row that it needs on the branch
        kinds, state = (TurnStarted.kind, Complete.kind), self.state
        pages = RowsBackwards(self.journal, state.session_id, kinds, state.head_seq + 1, MAX_ROWS, LEFT_ROWS)
        while rows := await pages.next_page():
            for row in rows:
                turn_id, event = row.turn_id or "", decode_row(row).event
                position = event.agent_position if isinstance(event, Complete) else None
                is_desk = isinstance(event, TurnStarted) and event.cause == DESK
                is_ours = position is not None and (together_ms is None or row.at_ms < together_ms)
                if is_desk:
                    ends.append((turn_id, native_id_of(turn_id)))
                elif is_ours and position is not None:
                    ends.append((turn_id, str(position.get("message"))))
        kept = await self.on_branch(frozenset(name for _, name in ends), end=look.mark.offset)
        if kept is None:
            return ()
        return tuple(dict.fromkeys(turn_id for turn_id, name in reversed(ends) if name not in kept))
