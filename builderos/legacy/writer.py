"""Writes planned sessions into a store that no server has open, through the journal's own interface.

Existing messages are recognised by their ids. Messages newer than the whole session are appended. If an import has a
message that belongs before existing ones, the session's journal is rewritten in the order of time, in the next epoch,
so that every device reloads it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from actors.events.codec import decode_row, encode_settings
from actors.events.committed import Committed
from actors.events.conversation import Complete, Delivery
from actors.events.session import Settings
from actors.session.apply import apply
from actors.session.loading import load_state
from actors.session.snapshot import summary
from actors.session.state import SessionState
from builderos.legacy.plan import OldEntry, SessionPlan
from builderos.legacy.turns import Unit, encode, tell, units
from storage.records import Entry, Grant, NewSession, Row
from storage.store import Store

__all__ = ["Imported", "SessionBusyError", "SessionWriter"]

BATCH_ROWS = 512
"""Entries of one append."""

BATCH_BYTES = 1024 * 1024
"""Payload of one append, unless a single entry has more; bounds the memory."""

PAGE_ROWS = 512

ASIDE_ID = "~aside"
"""No device can use this as a session's id."""

_ORDERED = ("message_count", "unknown", "resolved", "authors", "authors_floor")
"""The fields of a state that depend on the order of events, and so change when a journal is rewritten."""


class SessionBusyError(Exception):
    """A turn of the session runs, or messages wait, so nothing can be added; the text is one line for a person."""


@attrs.frozen
class Imported:
    """The result for one session.

    Attributes:
        is_new: it did not exist before.
        is_rewritten: its journal was rewritten, in the next epoch.
        added: imported messages; `known`: those that existed already; `errors`: the imported ones that are errors.
    """

    session_id: str
    is_new: bool
    is_rewritten: bool
    added: int
    known: int
    errors: int


@attrs.define(eq=False)
class SessionWriter:
    """Writes one session after another. `workspace` is the folder where the agents of new sessions work."""

    store: Store
    workspace: Path

    async def write(self, plan: SessionPlan) -> Imported:
        """Import one session.

        Raises:
            SessionBusyError: it cannot be changed now.
            StorageError: the store failed.
        """
        catalog, session_id = self.store.catalog, plan.session_id
        record = await catalog.get(session_id)
        if record is None:
            settings = encode_settings(Settings(str(self.workspace)))
            await catalog.create(
                NewSession(session_id, plan.agent_type, plan.device_id, settings, plan.created_at_ms)
            )
        fresh = await self._unknown(session_id, plan.said)
        is_rewritten = False
        if fresh:
            if record is not None and record.summary is not None and record.summary.unfinished:
                raise SessionBusyError(
                    f"the session {session_id} has a running turn or waiting messages: start the server,  "
                    "let it finish, stop it and import again"
                )
            is_rewritten = await self._add(plan, fresh)
        errors = sum(entry.is_error for entry in fresh)
        known = len(plan.said) - len(fresh)
        return Imported(session_id, record is None, is_rewritten, len(fresh), known, errors)

    async def _unknown(self, session_id: str, entries: Sequence[OldEntry]) -> list[OldEntry]:
        fresh: list[OldEntry] = []
        for start in range(0, len(entries), PAGE_ROWS):
            page = entries[start : start + PAGE_ROWS]
            known = await self.store.journal.find_commands(session_id, [entry.message_id for entry in page])
            fresh += [entry for entry in page if entry.message_id not in known]
        return fresh

    async def _add(self, plan: SessionPlan, fresh: Sequence[OldEntry]) -> bool:
        """Append or rewrite; return whether it was rewritten."""
        store, session_id = self.store, plan.session_id
        record, state = await load_state(store.catalog, store.journal, session_id)
        was_read = record.read_seq >= record.head_seq
        newest = await store.journal.read(session_id, 0, 1, newest=True)
        if newest and newest[0].at_ms > fresh[0].at_ms:
            read_seq = await self._write_anew(plan, fresh, state, record.read_seq)
        else:
            out = _Out(store, await store.ownership.acquire(session_id), state)
            for unit in units(fresh):
                await out.put_unit(unit, plan.device_id)
            await out.finish(state)
            read_seq = record.read_seq
        # Messages that a person read there count as read here; a message that was unread here stays unread.
        await store.catalog.note(session_id, read_seq=state.head_seq if was_read else read_seq)
        return bool(newest) and newest[0].at_ms > fresh[0].at_ms

    async def _write_anew(
        self, plan: SessionPlan, fresh: Sequence[OldEntry], kept: SessionState, old_read_seq: int
    ) -> int:
        """Write the journal again with `fresh` in its place; return the read mark's new seq."""
        store, session_id = self.store, plan.session_id
        await store.catalog.set_aside(session_id, ASIDE_ID)
        state = SessionState(session_id, kept.agent_type, kept.settings, kept.epoch + 1)
        out = _Out(store, await store.ownership.acquire(session_id), state)
        left = deque(units(fresh))
        after, read_seq = 0, 0
        while rows := await store.journal.read(ASIDE_ID, after, PAGE_ROWS):
            for row in rows:
                # A message must not land inside a turn. A question whose turn starts later waits meanwhile.
                while left and left[0].at_ms < row.at_ms and state.turn is None:
                    await out.queue_arriving(left[0].at_ms)
                    unit, *rest = left.popleft().until(row.at_ms)
                    left.extendleft(rest)
                    await out.put_unit(unit, plan.device_id)
                await out.put_row(row)
                read_seq = state.head_seq if row.seq <= old_read_seq else read_seq
            after = rows[-1].seq
        for unit in left:
            await out.put_unit(unit, plan.device_id)
        for name in _ORDERED:
            setattr(kept, name, getattr(state, name))
        kept.epoch, kept.head_seq, kept.control_dirty = state.epoch, state.head_seq, True
        await out.finish(kept)
        await store.catalog.remove(ASIDE_ID)
        return read_seq


@attrs.define(eq=False)
class _Out:
    """Entries for one session, in batches."""

    store: Store
    grant: Grant
    state: SessionState
    _waiting: list[Entry] = attrs.field(factory=list)
    _size: int = 0

    async def put_unit(self, unit: Unit, device_id: str) -> None:
        for entry in tell(self.state, unit, device_id):
            await self._put(entry)

    async def queue_arriving(self, at_ms: int) -> None:
        """Record that a message whose turn does not start next is waiting."""
        for waiting in tuple(self.state.arriving.values()):
            seq = self.state.head_seq + 1
            queued = Delivery(waiting.message_id, "queued")
            item = Committed(seq, seq, at_ms, waiting.turn_id, waiting.device_id, queued)
            apply(self.state, item)
            await self._put(encode(item))

    async def put_row(self, row: Row) -> None:
        """Append a row of the earlier journal to the new one."""
        item = decode_row(row)
        last = self.state.head_seq + row.seq - row.first_seq + 1
        item = attrs.evolve(item, first_seq=self.state.head_seq + 1, seq=last)
        apply(self.state, item)
        if isinstance(item.event, Delivery):
            self.state.arriving.pop(item.event.message_id, None)
        entry = encode(item)
        if isinstance(item.event, Complete):
            entry = encode(
                attrs.evolve(item, event=attrs.evolve(item.event, message_count=self.state.message_count))
            )
        else:
            # Also for kinds that this version does not know.
            entry = attrs.evolve(entry, kind=row.kind, payload=row.payload)
        await self._put(entry)

    async def finish(self, state: SessionState) -> None:
        """Write the remaining entries, and the summary of `state`."""
        await self._flush()
        await self._append((), state)

    async def _put(self, entry: Entry) -> None:
        self._waiting.append(entry)
        self._size += len(entry.payload)
        if len(self._waiting) >= BATCH_ROWS or self._size >= BATCH_BYTES:
            await self._flush()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _flush(self) -> None:
        waiting, self._waiting, self._size = self._waiting, [], 0
        await self._append(waiting, None)

    async def _append(self, entries: Sequence[Entry], state: SessionState | None) -> None:
        note = None if state is None else summary(state)
        seq = self.grant.seq
        head = await self.store.journal.append(self.grant, seq, entries, durable=False, summary=note)
        self.grant = attrs.evolve(self.grant, seq=head)
