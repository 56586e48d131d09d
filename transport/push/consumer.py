"""Turns events into alerts, and leads each alert up its ladder. One task for all sessions.

It reads what was committed, after the commit, and stores alerts and its position in one transaction. So nothing here
slows an append, and after a crash each event is looked at exactly once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from actors.events.codec import decode_row
from actors.events.committed import Committed
from actors.events.conversation import Delivery, TurnStarted, UserMessage
from storage.errors import StorageError
from storage.records import Row
from storage.tables.notifications.alerts import Alert, Change, Settle
from storage.tables.notifications.changes import NOTABLE_KINDS
from transport.push.alert_state import (
    changes_of,
    settled_by_reading,
    settled_by_word,
    settled_with_session,
)
from transport.push.routing_state import ONE, WATCHED, route
from transport.push.world import Surroundings

__all__ = ["AlertConsumer"]

PAGE_ROWS: Final = 256
DUE_AT_ONCE: Final = 64

LOOK_S: Final = 0.25
"""Least time between two looks: a busy session changes more often."""

_WORD_KINDS: Final = frozenset({Delivery.kind, TurnStarted.kind})

RETRY_S: Final = 5.0
"""How long to wait if the database fails."""

PRUNE_EVERY: Final = 500
"""Alerts between two removals of old ones."""

logger = logging.getLogger("builderos.transport")


def _decoded(row: Row) -> Committed | None:
    try:
        return decode_row(row)
    except Exception:  # a damaged row is nobody's alert, and must not hold up the rows after it
        logger.exception("session %s: event %d cannot be read", row.session_id, row.seq)
        return None


@attrs.define(eq=False)
class AlertConsumer:
    """The task. `notified`: called after deliveries were planned or became due for their withdrawal."""

    around: Surroundings
    told: Callable[[], None]
    _changed: dict[str, None] = attrs.field(factory=dict)
    _open: set[str] = attrs.field(factory=set)
    _late: dict[str, dict[str, int]] = attrs.field(factory=dict)
    """Of sessions: up to which event somebody's word was looked for, for each message for later that was held."""
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _since_pruned: int = PRUNE_EVERY

    def changed(self, session_id: str) -> None:
        """Note that a session may have changed."""
        self._changed[session_id] = None
        self._wake.set()

    def wake(self) -> None:
        """Look again: somebody may have stopped looking at a session."""
        self._wake.set()

    async def run(self) -> None:
        """Read, raise, settle and climb until cancelled."""
        around = self.around
        with around.deps.watch(self.changed):
            around.attention.changed = self.wake
            await self._until_stored(self.begin)
            while True:
                await self._until_stored(self.turn)
                await trio.sleep(LOOK_S)
                with trio.move_on_after(self._wait_s):
                    await self._wake.wait()

    _wait_s: float = math.inf

    async def _until_stored(self, act: Callable[[], object]) -> None:
        while True:
            try:
                await act()  # type: ignore[misc]  # both are coroutine functions
            except StorageError as error:
                logger.warning("notifications: the database fails, next try in %.0f s: %s", RETRY_S, error)
                await trio.sleep(RETRY_S)
            else:
                return

    async def begin(self) -> None:
        """Begin at the present end, if this is the first time; else look at all that is open again."""
        alerts = self.around.tables.alerts
        await alerts.begin(await self.around.tables.changes.end())
        self._open = await alerts.open_sessions()
        self._changed.update(dict.fromkeys(self._open))

    async def turn(self) -> None:
        """Do once all that is to be done now."""
        self._wake = trio.Event()
        changed, self._changed = self._changed, {}
        try:
            await self._read()
            await self._look(changed)
            await self._climb()
        except StorageError:
            self._changed.update(changed)
            raise
        due_ms = await self.around.tables.alerts.next_due_ms()
        self._wait_s = math.inf if due_ms is None else max(0.0, (due_ms - self.around.clock()) / 1000)

    # ---- events ----

    async def _read(self) -> None:
        tables = self.around.tables
        position = await tables.alerts.position()
        while position is not None:
            rows, after = await tables.changes.page(position, NOTABLE_KINDS, PAGE_ROWS)
            if after == position:
                return
            ended = await tables.alerts.plan(position, after, await self._changes(rows))
            if ended is None:
                return  # another reader was first; what it stored will be found as due
            self._tell_settled(ended)
            position = after

    async def _changes(self, rows: Sequence[Row]) -> list[Change]:
        found: list[Change] = []
        now_ms = self.around.clock()
        authors: dict[str, str | None] = {}
        for row in rows:
            item = _decoded(row)
            if item is None:
                continue
            if isinstance(item.event, UserMessage):
                authors[row.session_id] = item.device_id
            author = authors.get(row.session_id)
            made = changes_of(row.session_id, item, author=author, now_ms=now_ms, new_id=self.around.new_id)
            for change in made:
                if not isinstance(change, Settle):
                    self._open.add(row.session_id)
                    self._since_pruned += 1
                    if change.author is None:
                        change = attrs.evolve(change, author=await self._author_of(row, item))
                found.append(change)
        return found

    async def _author_of(self, row: Row, item: Committed) -> str | None:
        """Return the label of the message that the session worked on."""
        try:
            rows = await self.around.deps.journal.read(
                row.session_id, 0, 1, before=item.seq, kinds={UserMessage.kind}, newest=True
            )
        except StorageError:
            return None
        return rows[0].device_id if rows else None

    async def _look(self, changed: dict[str, None]) -> None:
        """Settle what was read, what belongs to sessions that are gone, and messages for later that were sent or taken
        back. No event says the first two, and the last are events that `_read` leaves out: each turn has some."""
        for session_id in [one for one in changed if one in self._open]:
            record = await self.around.deps.catalog.get(session_id)
            now_ms = self.around.clock()
            if record is None:
                self._tell_settled(
                    await self.around.tables.alerts.settle(settled_with_session(session_id, now_ms))
                )
            else:
                if record.read_seq:
                    await self._settle_read(session_id, record.read_seq, now_ms)
                await self._settle_late(session_id, now_ms)
            if not await self.around.tables.alerts.open_of(session_id):
                self._open.discard(session_id)
                self._late.pop(session_id, None)

    async def _settle_read(self, session_id: str, read_seq: int, now_ms: int) -> None:
        change = settled_by_reading(session_id, read_seq, now_ms)
        alerts = self.around.tables.alerts
        if any(one.kind in change.kinds and one.seq <= read_seq for one in await alerts.open_of(session_id)):
            self._tell_settled(await alerts.settle(change))

    async def _settle_late(self, session_id: str, now_ms: int) -> None:
        tables, before = self.around.tables, self._late.get(session_id, {})
        late = [one for one in await tables.alerts.open_of(session_id) if one.kind == "late"]
        places = {one.alert_id: before.get(one.alert_id, one.seq) for one in late}
        subjects = {one.subject for one in late}
        while places:
            after = min(places.values())
            rows = await self.around.deps.journal.read(session_id, after, PAGE_ROWS, kinds=_WORD_KINDS)
            for item in filter(None, map(_decoded, rows)):
                change = settled_by_word(session_id, item, now_ms)
                if change is not None and change.subject in subjects:
                    self._tell_settled(await tables.alerts.settle(change))
            if not rows:
                break
            places = {name: max(place, rows[-1].seq) for name, place in places.items()}
        if places:
            self._late[session_id] = places
        else:
            self._late.pop(session_id, None)

    def _tell_settled(self, ended: Sequence[Alert]) -> None:
        for alert in ended:
            self.around.tell(alert, "settled")
        if ended:
            self.told()

    # ---- the ladder ----

    async def _climb(self) -> None:
        alerts = self.around.tables.alerts
        for alert in await alerts.at_step(WATCHED):
            if not self.around.is_watched(alert):
                await self._step(alert)
        for alert in await alerts.due(self.around.clock(), DUE_AT_ONCE):
            await self._step(alert)
        if self._since_pruned >= PRUNE_EVERY:
            self._since_pruned = 0
            await alerts.prune(self.around.clock())

    async def _step(self, alert: Alert) -> None:
        world = await self.around.world(alert)
        after = route(alert, world)
        alerts = self.around.tables.alerts
        if after.settle is not None:
            change = Settle(
                session_id=alert.session_id,
                kinds={alert.kind},
                subject=alert.subject,
                how=after.settle,
                reason="watching" if after.settle == "seen" else "continued",
                at_ms=world.now_ms,
            )
            self._tell_settled(await alerts.settle(change))
        elif await alerts.advance(alert, after.step, after.due_at_ms, after.told):
            if after.step >= ONE and alert.step < ONE:
                self.around.tell(attrs.evolve(alert, step=after.step), "open")
            logger.debug("alert %s: step %d → %d", alert.alert_id, alert.step, after.step)
            self.told()
