"""One server's handle on the store that all share: slow, sometimes refusing, and dead with its server."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import attrs
import trio

from actors.events.codec import decode_row
from actors.events.committed import Committed
from storage.errors import OutcomeUnknown, StorageUnavailable
from storage.records import (
    Entry,
    Fold,
    Grant,
    NewSession,
    Row,
    SessionRecord,
    Summary,
)
from tests.fakes.memory_store import MemoryStore
from tests.simulation.chaos import Chaos

__all__ = ["AppendFate", "Life", "SharedStore", "StoreHandle"]

AppendFate = Literal["append_fails", "append_unknown_before", "append_unknown_after"]

_decoded = lru_cache(1024)(decode_row)
"""A row is looked at again with each frame that a check holds against the journal."""


@attrs.define(eq=False)
class Life:
    """One server process; dead, nothing that its code still does reaches the world."""

    number: int
    dead: bool = False


@attrs.define(eq=False)
class SharedStore:
    """The database, and its troubles. A power cut takes it back to what was synced.

    Attributes:
        down_until, gone_until: until when it takes no writes; until when it does not read either.
        fates: what becomes of the next appends.
    """

    chaos: Chaos
    memory: MemoryStore = attrs.field(factory=MemoryStore)
    down_until: float = 0.0
    gone_until: float = 0.0
    fates: list[AppendFate] = attrs.field(factory=list)
    _synced: MemoryStore = attrs.field(factory=MemoryStore)

    def items(self, session_id: str) -> list[Committed]:
        """Return a session's journal as it is now."""
        session = self.memory._sessions.get(session_id)
        return [] if session is None else [_decoded(row) for row in session.rows]

    def rows(self, session_id: str) -> list[Row]:
        """Return its rows."""
        session = self.memory._sessions.get(session_id)
        return [] if session is None else session.rows

    def record(self, session_id: str) -> SessionRecord | None:
        """Return a session's record as it is now."""
        session = self.memory._sessions.get(session_id)
        return None if session is None else session.record

    def sync(self) -> None:
        """Put all that was written so far where a power cut does not reach it."""
        if any(fault.kind == "power_cut" for fault in self.chaos.plan.faults):
            self._synced._sessions = {key: copy.copy(one) for key, one in self.memory._sessions.items()}

    def cut_power(self, *, epochs: bool = True) -> None:
        """Lose what was not synced. Sessions at work get a new epoch, if `epochs`: their past may have changed."""
        self.memory._sessions.clear()
        self.memory._sessions.update({key: copy.copy(one) for key, one in self._synced._sessions.items()})
        for session in self.memory._sessions.values():
            summary = session.record.summary
            if epochs and summary is not None and summary.unfinished:
                session.record = attrs.evolve(session.record, epoch=session.record.epoch + 1)
        self.sync()

    def check(self, *, writes: bool) -> None:
        """Raise what a call of this moment meets."""
        if self.chaos.healed:
            return
        now = trio.current_time()
        if now < self.gone_until or (writes and now < self.down_until):
            raise StorageUnavailable("the disk is not well")


@attrs.define(eq=False, kw_only=True)
class StoreHandle(MemoryStore):
    """One server's store: the shared one, behind delays and faults."""

    store: SharedStore
    life: Life

    def __attrs_post_init__(self) -> None:
        self._sessions = self.store.memory._sessions
        self._hidden = self.store.memory._hidden
        self._offers = self.store.memory._offers

    async def enter(self, *, writes: bool) -> None:
        """Be slow, never return to a dead server, and raise what this moment brings."""
        await self._arrive(writes=writes)
        await super().enter(writes=writes)

    async def _arrive(self, *, writes: bool) -> None:
        chaos = self.store.chaos
        delay_s = chaos.delay(chaos.plan.knobs.store_delay_s)
        if delay_s and not writes:
            await trio.sleep(delay_s)
        chaos.tick()
        if self.life.dead:
            await trio.sleep_forever()
        self.store.check(writes=writes)

    async def due(self, limit: int) -> Sequence[tuple[str, int]]:
        """See `actors.ports.Catalog`. Asked by a clock, so it is not slow."""
        if self.life.dead:
            await trio.sleep_forever()
        return await self.store.memory.due(limit)

    async def offer_of(self, agent_type: str) -> bytes | None:
        """See `actors.ports.Catalog`."""
        if self.life.dead:
            await trio.sleep_forever()
        return await self.store.memory.offer_of(agent_type)

    async def append(
        self,
        grant: Grant,
        expected_seq: int,
        entries: Sequence[Entry],
        *,
        fold: Sequence[Fold] = (),
        durable: bool,
        summary: Summary | None = None,
    ) -> int:
        """See `actors.ports.Journal`. One that has begun is not cancelled, unless its server dies."""
        await self._arrive(writes=True)
        chaos, store = self.store.chaos, self.store
        most_s = chaos.plan.knobs.store_delay_s
        with trio.CancelScope(shield=True):  # noqa: ASYNC912 - bounded by the delays
            if most_s:
                await trio.sleep(chaos.delay(most_s))
            if self.life.dead:
                fate = None
            else:
                fate = store.fates.pop(0) if store.fates and not chaos.healed else None
                if fate == "append_fails":
                    raise StorageUnavailable("this write failed")
                if fate == "append_unknown_before":
                    raise OutcomeUnknown("the commit failed")
                head = await self._write(
                    grant, expected_seq, entries, fold=fold, durable=durable, summary=summary
                )
                if durable:
                    store.sync()
                chaos.note(f"journal {grant.session_id} {head} {' '.join(one.kind for one in entries)}")
                chaos.tick()
                if most_s:
                    await trio.sleep(chaos.delay(most_s))
        if self.life.dead:
            await trio.sleep_forever()
        if fate == "append_unknown_after":
            raise OutcomeUnknown("the commit said nothing")
        return head

    async def _write(self, grant: Grant, expected_seq: int, entries: Sequence[Entry], **more: Any) -> int:
        return await self.store.memory.append(grant, expected_seq, entries, **more)

    async def acquire(self, session_id: str) -> Grant:
        """See `actors.ports.Ownership`."""
        grant = await super().acquire(session_id)
        self.store.sync()
        return grant

    async def create(self, session: NewSession) -> SessionRecord:
        """See `actors.ports.Catalog`."""
        record = await super().create(session)
        self.store.sync()
        return record
