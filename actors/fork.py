"""A new session with the history of another one, up to a turn.

The copy is written in batches and hidden until it is whole; what a crash leaves of it is removed at the next start. Its
agent knows nothing yet: with the first message its driver makes a fork of the agent's own record, if the last turn's
end noted the place; else, or if that fails, the agent is given the history as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs
import trio

from actors.events.codec import decode_row, encode_entry, encode_settings, origin_of
from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import BlockDropped, Complete, Message, TurnStarted
from actors.events.work import TaskFinished, TaskProgress, TaskStarted
from actors.offer import NO_OFFER, decode_offer
from actors.ports import Catalog, Journal, Ownership
from actors.session.apply import apply
from actors.session.effect_runner import SessionDeps
from actors.session.snapshot import restore, summary
from actors.session.state import SessionState
from storage.errors import SessionExists, SessionMissing, StorageUnavailable
from storage.records import Grant, NewSession, SessionRecord

__all__ = ["Forking", "TurnRuns", "UnknownTurn", "fork_session", "wait_until_whole"]

BATCH_ROWS = 500
"""Rows of one transaction; a page of the journal is also bounded in bytes."""

WAITS, WAIT_S = 200, 0.05
"""How often, and after how long, a session is looked for that somebody else makes at this moment."""

FORK = "fork"
"""In a driver's memory: the position in the source's record up to which the agent shall remember."""

_LEFT_OUT = (TaskStarted, TaskProgress, TaskFinished)


_Blocks = set[tuple[str | None, str]]
"""Blocks by the turns that they are of."""


@attrs.frozen
class _Copying:
    """What is copied: these turns; what they `dropped` is not found by a search."""

    turns: frozenset[str]
    dropped: _Blocks


class UnknownTurn(Exception):
    """The session has no such turn."""


class TurnRuns(Exception):
    """The turn has not ended."""


@attrs.frozen
class Forking:
    """Makes forks."""

    journal: Journal
    ownership: Ownership
    catalog: Catalog

    async def fork(self, source_id: str, after_turn: str | None, new: NewSession, title: str | None) -> None:
        """Make `new` out of a session's turns up to and including `after_turn`; None: out of none.

        `new.settings` are what it starts with. Idempotent for the same source, turn and id, at the same moment too.

        Raises:
            SessionMissing: there is no such source.
            UnknownTurn, TurnRuns: the turn cannot be forked after.
            SessionExists: the id is another session's.
            StorageError: it could not be read or written; what was written is removed at the next start.
        """
        source = await self.catalog.get(source_id)
        if source is None:
            raise SessionMissing(source_id)
        turns, dropped = await self._turns_up_to(source_id, after_turn)
        record: SessionRecord | None = None
        with suppress(SessionExists):
            record = await self.catalog.create(attrs.evolve(new, hidden=True))
        if record is None:
            made = await wait_until_whole(self.catalog, new.session_id)
            if made is None:
                raise StorageUnavailable(f"session {new.session_id} is being made; try again")
            if origin_of(made.settings) != origin_of(new.settings):
                raise SessionExists(new.session_id)
            return
        try:
            copying = _Copying(turns, dropped)
            await self._copy(source_id, record, copying, restore(source).title if title is None else title)
            await self.catalog.reveal(new.session_id, files_of=source_id)
        except BaseException:
            await self.catalog.remove_hidden(new.session_id)  # noqa: ASYNC102 - shielded, and bounded by the writer
            raise

    async def _turns_up_to(self, source_id: str, after_turn: str | None) -> tuple[frozenset[str], _Blocks]:
        """Return the turns that started and ended up to that one, and the blocks that their answers do not have."""
        dropped: set[tuple[str | None, str]] = set()
        if after_turn is None:
            return frozenset(), dropped
        started: dict[str, None] = {}
        ended: set[str] = set()
        after, kinds = 0, (TurnStarted.kind, BlockDropped.kind, *TURN_ENDS)
        while rows := await self.journal.read(source_id, after, BATCH_ROWS, kinds=kinds):
            for row in rows:
                turn_id = row.turn_id or ""
                if row.kind == TurnStarted.kind:
                    started[turn_id] = None
                elif row.kind == BlockDropped.kind:
                    event = decode_row(row).event
                    assert isinstance(event, BlockDropped)
                    dropped.add((turn_id, event.block))
                else:
                    ended.add(turn_id)
                    if turn_id == after_turn:
                        return frozenset(started) & ended, dropped
            after = rows[-1].seq
        if after_turn in started:
            raise TurnRuns(after_turn)
        raise UnknownTurn(after_turn)

    async def _copy(self, source_id: str, record: SessionRecord, copying: _Copying, title: str) -> None:
        grant = await self.ownership.acquire(record.session_id)
        state = restore(record)
        state.title = title
        after, position = 0, None
        turns = copying.turns
        while turns and (rows := await self.journal.read(source_id, after, BATCH_ROWS)):
            items = [decode_row(row) for row in rows if row.turn_id in turns]
            kept = [one for one in items if not isinstance(one.event, _LEFT_OUT)]
            await self._append(grant, state, kept, copying.dropped)
            for ended in (one.event for one in items if one.event.kind in TURN_ENDS):
                position = ended.agent_position if isinstance(ended, Complete) else None
            after = rows[-1].seq
        state.agent_memory = None if position is None else {FORK: position}
        for left in (
            state.queue,
            state.unknown,
            state.arriving,
            state.grants,
            state.grants_at,
            state.background,
        ):
            left.clear()  # what waits or is allowed in the source stays there
        state.held = None
        await self._append(grant, state, [], set(), durable=True)
        await self.catalog.note(record.session_id, read_seq=state.head_seq)

    async def _append(
        self,
        grant: Grant,
        state: SessionState,
        items: Sequence[Committed],
        dropped: _Blocks,
        *,
        durable: bool = False,
    ) -> None:
        before, entries = state.head_seq, []
        for item in items:
            first = state.head_seq + 1
            event = item.event
            if isinstance(event, Complete):
                event = attrs.evolve(event, message_count=state.message_count)
            copied = attrs.evolve(item, first_seq=first, seq=first + item.seq - item.first_seq, event=event)
            apply(state, copied)
            entry = encode_entry(copied)
            if isinstance(event, Message) and (item.turn_id, event.block) not in dropped:
                entry = attrs.evolve(entry, search_text=event.content)
            entries.append(entry)
        if not entries and not durable:
            return
        state.control_dirty = True
        await self.journal.append(grant, before, entries, durable=durable, summary=summary(state))


async def wait_until_whole(catalog: Catalog, session_id: str) -> SessionRecord | None:
    """Return a session that somebody else makes, once it is not hidden; None if that takes too long, or does not happen."""
    for _ in range(WAITS):
        record = await catalog.get(session_id)
        if record is not None:
            return record
        await trio.sleep(WAIT_S)
    return None


async def fork_session(
    deps: SessionDeps,
    source_id: str,
    after_turn: str | None,
    new_id: str,
    device_id: str,
    title: str | None,
) -> None:
    """Make a fork `new_id`, with its source's settings but without a mode that never asks. Raises as `Forking.fork`."""
    source = await deps.catalog.get(source_id)
    if source is None:
        raise SessionMissing(source_id)
    offer = await deps.catalog.offer_of(source.agent_type)
    settings = restore(source).settings
    mode = settings.permission_mode
    if (NO_OFFER if offer is None else decode_offer(offer)).kind_of(mode) == "bypass":
        settings = attrs.evolve(settings, permission_mode=None)
    encoded = encode_settings(settings, origin=f"{source_id}/{after_turn or ''}")
    new = NewSession(new_id, source.agent_type, device_id, encoded, deps.clock(), settings.workspace)
    await Forking(deps.journal, deps.ownership, deps.catalog).fork(source_id, after_turn, new, title)
