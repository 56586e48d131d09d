"""Bugs that are planted on purpose, to see that the simulation finds them.

Each is one that somebody could write: a line left out, moved or off by one. `plant` puts one into the product while
inside its block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import trio

import actors.session.loading
import actors.session.steps.decision_steps
import actors.session.steps.later_steps
import actors.session.steps.settings_steps
from actors.commands import Author
from actors.cursor import PAGE_ROWS, Cursor
from actors.events.codec import decode_row
from actors.events.pieces import join_pieces
from actors.events.session import Settings
from actors.session import actor
from actors.session.actor import SessionActor
from actors.session.effects import HandOver, SendToHub
from actors.session.hub_owner import HubOwner
from actors.session.snapshot import restore as restore_state
from actors.session.state import SessionState, WaitingMessage
from actors.session.steps.step import Step
from actors.session.timers import Timers
from actors.tail import EventBatch
from storage.records import CommandRecord, SessionRecord
from tests.simulation.store import StoreHandle

__all__ = ["BUGS", "Replaced", "plant"]

Replaced = tuple[Any, str, Any]


def _effects_first() -> Replaced:
    """The prompt is handed over before the commit of its `handed`."""
    whole = SessionActor._commit

    async def commit(self: SessionActor, step: Step) -> Any:
        for effect in step.effects:
            if isinstance(effect, HandOver):
                await self._effects.run(effect, step.events)
        return await whole(self, step)

    return SessionActor, "_commit", commit


def _acknowledged_early() -> Replaced:
    """Events of the hub are acknowledged when they come, not when they are in the journal."""
    whole = HubOwner._receive

    async def receive(self: HubOwner, hub_id: str, batch: Sequence[Any]) -> None:
        self.acknowledge(batch[-1].seq)
        await whole(self, hub_id, batch)

    return HubOwner, "_receive", receive


def _duplicates_forgotten() -> Replaced:
    """A message's id is known only to the server that took it."""

    async def find_commands(
        self: StoreHandle, session_id: str, command_ids: Sequence[str]
    ) -> dict[str, CommandRecord]:
        return {}

    return StoreHandle, "find_commands", find_commands


def _page_off_by_one() -> Replaced:
    """A reader that has fallen behind the tail continues one event too late."""

    async def page(self: Cursor) -> EventBatch:
        tail = self.tail
        rows = await self.journal.read(
            tail.session_id, self.position + 1, PAGE_ROWS, before=tail.head_seq + 1
        )
        return EventBatch(tail.session_id, tail.epoch, tuple(join_pieces(map(decode_row, rows))))

    return Cursor, "_page", page


def _replay_off_by_one() -> Replaced:
    """A hub is asked for what follows the event behind the last one that is committed."""
    whole = SessionActor._acked

    def acked(self: SessionActor, hub_id: str) -> int:
        seq = whole(self, hub_id)
        return seq + 1 if seq else 0

    return SessionActor, "_acked", acked


def _unknown_is_stored() -> Replaced:
    """A commit that said nothing is taken for one that came through, without a look at the head."""

    async def was_stored(*_: object) -> bool:
        return True

    return actor, "was_stored", was_stored


def _unknown_is_lost() -> Replaced:
    """A commit that said nothing is taken for one that did not come through."""

    async def was_stored(*_: object) -> bool:
        return False

    return actor, "was_stored", was_stored


def _requests_left_open() -> Replaced:
    """The end of a turn leaves its permission requests open."""

    def cancel_requests(self: Step, by: str | None) -> None:
        pass

    return Step, "cancel_requests", cancel_requests


def _decisions_forgotten() -> Replaced:
    """What was decided in the running turn does not survive the server, so a hub that missed it waits for ever."""
    whole = restore_state

    def restore(record: SessionRecord) -> SessionState:
        state = whole(record)
        if state.turn is not None:
            state.turn.decided.clear()
        return state

    return actors.session.loading, "restore", restore


def _published_first() -> Replaced:
    """Devices see events before they are committed."""
    whole = SessionActor._commit

    async def commit(self: SessionActor, step: Step) -> Any:
        before = self.tail.head_seq
        items = join_pieces(step.events, starts=step.starts)
        self.tail.publish_nowait(items, [100 for _ in items])
        done = await whole(self, step)
        if done is None:
            self.tail.head_seq = before
            return None
        return [], []

    return SessionActor, "_commit", commit


def _stale_owner_hands_over() -> Replaced:
    """What the simulation found: a server that is no longer the owner hands a message to a hub of its own."""
    whole = SessionActor._commit

    async def commit(self: SessionActor, step: Step) -> Any:
        if not step.events and all(isinstance(one, HandOver | SendToHub) for one in step.effects):
            return [], []
        return await whole(self, step)

    return SessionActor, "_commit", commit


def _stale_owner_takes_back() -> Replaced:
    """What it found next: a server that is no longer the owner takes the session back when storage failed it."""
    whole = SessionActor._load

    async def load(self: SessionActor) -> None:
        self._is_owner = False
        await whole(self)

    return SessionActor, "_load", load


def _time_forgotten() -> Replaced:
    """A message for later is one for now as soon as its session is loaded again."""
    whole = restore_state

    def restore(record: SessionRecord) -> SessionState:
        state = whole(record)
        for waiting in state.queue.values():
            waiting.not_before_ms = None
        return state

    return actors.session.loading, "restore", restore


def _late_is_sent() -> Replaced:
    """A message for later runs however late it is."""
    return actors.session.steps.later_steps, "MAX_LATE_MS", 1 << 60


def _kept_is_sent() -> Replaced:
    """A message that is kept back for a person runs with the next look at the queue."""

    def next_waiting(self: SessionState) -> WaitingMessage | None:
        return next((one for one in self.queue.values() if one.not_before_ms is None or one.kept), None)

    return SessionState, "next_waiting", next_waiting


def _clock_seldom_seen() -> Replaced:
    """The clock is looked at now and then, not when a message's time comes."""
    whole = Timers.next_at

    def next_at(self: Timers) -> float:
        left_s = self.queue_due_s()
        return (
            min(trio.current_time() + left_s + 3.0, self.own_at()) if 0 < left_s < math.inf else whole(self)
        )

    return Timers, "next_at", next_at


def _mode_of_an_answer_lost() -> Replaced:
    """The mode that comes with an answer reaches the agent and not the session's settings."""

    def switch_mode(step: Step, mode: str, author: Author) -> None:
        pass

    return actors.session.steps.decision_steps, "switch_mode", switch_mode


def _modes_leave_requests_open() -> Replaced:
    """A change of the mode does not answer the open requests that it makes needless."""

    def allow_under_mode(step: Step, request_id: str) -> None:
        pass

    return actors.session.steps.settings_steps, "allow_under_mode", allow_under_mode


def _settings_forgotten() -> Replaced:
    """The settings do not survive the server, so the next turn works with the agent's own."""
    whole = restore_state

    def restore(record: SessionRecord) -> SessionState:
        state = whole(record)
        state.settings = Settings(state.settings.workspace)
        return state

    return actors.session.loading, "restore", restore


BUGS: dict[str, Callable[[], Replaced]] = {
    made.__name__.lstrip("_"): made
    for made in (
        _effects_first,
        _acknowledged_early,
        _duplicates_forgotten,
        _page_off_by_one,
        _replay_off_by_one,
        _unknown_is_stored,
        _unknown_is_lost,
        _requests_left_open,
        _decisions_forgotten,
        _published_first,
        _stale_owner_hands_over,
        _stale_owner_takes_back,
        _time_forgotten,
        _late_is_sent,
        _kept_is_sent,
        _clock_seldom_seen,
        _mode_of_an_answer_lost,
        _modes_leave_requests_open,
        _settings_forgotten,
    )
}


@contextmanager
def plant(name: str, bugs: Mapping[str, Callable[[], Replaced]] = BUGS) -> Iterator[None]:
    """Have the bug of that name in the product while inside the block."""
    where, what, by = bugs[name]()
    with patch.object(where, what, by):
        yield
