"""The database's order of commits, and the product's reader of all journals, which raises alerts, over it.

A transaction has its number before its commit, and two nodes commit at the same time: what has a lower number may be
seen later. So a place in all journals is a transaction and a number, and a reader stops before the oldest transaction
that is open, as `storage.postgres.journal` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate, count
from typing import TYPE_CHECKING, Any, cast

import attrs
import trio

from actors.events.codec import decode_row
from actors.ports import Clock, Ids
from storage.records import Entry, Row
from storage.store import Notified
from storage.tables.notifications.alerts import Alert, Change, Raise, Settle
from storage.tables.notifications.changes import NOTABLE_KINDS
from tests.simulation.store import SharedStore
from transport.ports import Deps
from transport.push.alert_state import changes_of
from transport.push.attention import Attention
from transport.push.consumer import AlertConsumer
from transport.push.world import Surroundings

if TYPE_CHECKING:
    from tests.simulation.nodes.server import NodeStoreHandle

__all__ = ["LONG_AGO_MS", "AlertBook", "Begun", "Commits", "Reader", "run_alerts"]

LONG_AGO_MS = 24 * 3_600_000
"""How old the events of an import are. Nobody waits for them."""

LOOK_AGAIN_S = 5.0
"""How often the product looks for what it was not woken for."""

Place = tuple[int, int]
"""The number of a transaction, and that of a row."""

Key = tuple[str, str, str]
Watch = Callable[[Callable[[str], None]], AbstractContextManager[None]]


@attrs.frozen
class Begun:
    """A transaction that has begun, and the places of the rows that it is to write."""

    xid: int
    places: dict[tuple[str, int], Place]


@attrs.define(eq=False)
class Commits:
    """The transactions of the journals, and the places of all rows."""

    places: dict[tuple[str, int], Place] = attrs.field(factory=dict)
    _open: set[int] = attrs.field(factory=set)
    _xids: Iterator[int] = attrs.field(factory=lambda: count(1))
    _numbers: Iterator[int] = attrs.field(factory=lambda: count(1))

    def begin(self, session_id: str, seq: int, entries: Sequence[Entry]) -> Begun:
        """Begin a transaction that is to write entries after `seq`."""
        xid = next(self._xids)
        self._open.add(xid)
        ends = [seq + span for span in accumulate(one.span for one in entries)]
        return Begun(xid, {(session_id, end): (xid, next(self._numbers)) for end in ends})

    def written(self, begun: Begun) -> None:
        """Note that its rows are in the journal."""
        self.places.update(begun.places)

    def end(self, begun: Begun) -> None:
        """Note that it has ended, whatever became of it."""
        self._open.discard(begun.xid)

    def readable(self) -> dict[Place, tuple[str, int]]:
        """Return the rows that a reader may pass: those of transactions before the oldest that is open."""
        oldest = min(self._open, default=1 << 60)
        return {place: row for row, place in self.places.items() if place[0] < oldest}


@attrs.define(eq=False)
class AlertBook:
    """The alerts that the database has, and the place up to which the journals were read.

    Attributes:
        began: the first place: what is older raises nothing.
        raised: session, kind and subject of all alerts.
    """

    store: SharedStore
    commits: Commits = attrs.field(factory=Commits)
    position: str | None = None
    began: Place = (0, 0)
    raised: set[Key] = attrs.field(factory=set)

    def rows(self) -> dict[tuple[str, int], Row]:
        """Return the rows of all journals."""
        found = (row for session in self.store.memory._sessions.values() for row in session.rows)
        return {(row.session_id, row.seq): row for row in found}

    def take(self, changes: Sequence[Change]) -> None:
        """Store the alerts of a page; complain of one about what is long over."""
        for one in changes:
            if isinstance(one, Raise):
                self.raised.add((one.session_id, one.kind, one.subject))
                if one.raised_at_ms < self.store.chaos.now_ms() - LONG_AGO_MS // 2:
                    self.store.chaos.complain(f"an alert of what happened long ago in {one.session_id}")

    def missing(self) -> list[Key]:
        """Return the alerts that events should have raised and did not."""
        found: list[Key] = []
        for key, row in self.rows().items():
            place = self.commits.places.get(key)
            if row.kind in NOTABLE_KINDS and place is not None and place > self.began:
                found += _raised_by(row, self.store.chaos.now_ms())
        return [one for one in found if one not in self.raised] if self.position is not None else []


def _raised_by(row: Row, now_ms: int) -> list[Key]:
    made = changes_of(row.session_id, decode_row(row), author=None, now_ms=now_ms, new_id=lambda: "")
    return [(one.session_id, one.kind, one.subject) for one in made if isinstance(one, Raise)]


def _text(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def _parsed(position: str) -> Place:
    xid, _, number = position.partition(":")
    return int(xid), int(number or 0)


@attrs.define(eq=False)
class Reader:
    """The tables that the consumer uses, for one process; `Alerts` and `Changes` of the product in one."""

    handle: NodeStoreHandle
    book: AlertBook

    async def position(self) -> str | None:
        await self.handle.enter(writes=False)
        return self.book.position

    async def begin(self, position: str) -> None:
        await self.handle.enter(writes=True)
        if self.book.position is None:
            self.book.position, self.book.began = position, _parsed(position)

    async def end(self) -> str:
        await self.handle.enter(writes=False)
        return _text(max(self.book.commits.readable(), default=(0, 0)))

    async def page(
        self, position: str, kinds: Collection[str], limit: int, *, since_ms: int = 0
    ) -> tuple[Sequence[Row], str]:
        await self.handle.enter(writes=False)
        after, found, rows = _parsed(position), self.book.commits.readable(), self.book.rows()
        new = sorted(place for place in found if place > after)[:limit]
        page = [rows[found[place]] for place in new if found[place] in rows]
        return [row for row in page if row.kind in kinds], _text(new[-1]) if new else position

    async def plan(self, expected: str, position: str, changes: Sequence[Change]) -> list[Alert] | None:
        await self.handle.enter(writes=True)
        if self.book.position != expected:
            return None
        self.book.position = position
        self.book.take(changes)
        return []

    async def settle(self, change: Settle) -> list[Alert]:
        await self.handle.enter(writes=True)
        return []

    async def open_sessions(self) -> set[str]:
        await self.handle.enter(writes=False)
        return set()

    async def open_of(self, session_id: str) -> list[Alert]:
        await self.handle.enter(writes=False)
        return []

    async def at_step(self, step: int) -> list[Alert]:
        await self.handle.enter(writes=False)
        return []

    async def due(self, now_ms: int, limit: int) -> list[Alert]:
        await self.handle.enter(writes=False)
        return []

    async def next_due_ms(self) -> int | None:
        await self.handle.enter(writes=False)
        return None

    async def prune(self, now_ms: int) -> None:
        await self.handle.enter(writes=True)


@attrs.frozen
class _Tables:
    alerts: Reader
    changes: Reader


@attrs.frozen
class _Deps:
    """What the consumer uses of `transport.ports.Deps`."""

    watch: Watch
    journal: NodeStoreHandle
    catalog: NodeStoreHandle


async def run_alerts(reader: Reader, watch: Watch, clock: Clock, new_id: Ids) -> None:
    """Run the product's consumer in one process, until cancelled. A crash of it is the product's own to survive."""
    unused: Any = None
    store = reader.handle
    deps, tables = _Deps(watch, store, store), _Tables(reader, reader)
    around = Surroundings(
        cast("Deps", deps),
        cast("Notified", tables),
        unused,
        unused,
        Attention(clock),
        clock,
        new_id,
        frozenset(),
    )
    consumer = AlertConsumer(around, lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consumer.run)
        while True:
            await trio.sleep(LOOK_AGAIN_S)
            consumer.wake()
