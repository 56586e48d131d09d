"""Follows one session for one connection: listens to the session's tail, and reads its journal by a cursor.

Use: create a follower, `listen`, `reach` the view that the session's owner gave, `follow` from a position, and `close`
it. It then is a source of the connection's writer.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

import attrs
import trio

from actors.cursor import Cursor
from actors.events.committed import Committed
from actors.ports import Clock
from actors.replies import SessionView
from actors.tail import AttachedDevice, Tail
from storage.errors import StorageError
from transport.delays import DeviceRecord
from transport.websocket.writer import DeviceWriter

__all__ = ["STORAGE_RETRY_S", "SessionFollower"]

STORAGE_RETRY_S: Final = 2.0
"""Pause after a failed read; the session's next event makes it try again at once."""

CATCH_UP_S: Final = 2.0
"""How long the tail may take to catch up with the answer of the session's owner."""

logger = logging.getLogger("builderos.transport")


@attrs.define(eq=False, kw_only=True)
class SessionFollower(ABC):
    """A listener of a session's tail and a source of a connection's writer. A protocol defines `take` and `due`.

    Attributes:
        own: the device that listens.
        record: where its delays are counted.
        clock: the time of day, which events carry.
        active: whether the writer may ask.
        tail: known once it listens.
        cursor: known once it follows.
        failing: the last read failed.
    """

    session_id: str
    own: AttachedDevice
    record: DeviceRecord
    clock: Clock
    writer: DeviceWriter
    active: bool = False
    failing: bool = False
    tail: Tail = attrs.field(init=False)
    cursor: Cursor = attrs.field(init=False)
    _listening: AbstractContextManager[Tail] | None = None
    _epoch: int = 0
    _changed: trio.Event | None = None
    _begins: int = 0
    _behind_at: float | None = None
    _lags: bool = False
    _unwritten_at: float | None = None

    @property
    def device(self) -> AttachedDevice | None:
        """Implements `actors.tail.Listener`."""
        return self.own

    @property
    def is_lost(self) -> bool:
        """Whether the session's past changed below it."""
        return self.tail.epoch != self._epoch

    @property
    def lag(self) -> int:
        """Positions that the device is behind the session's head."""
        return max(self.tail.head_seq - self.cursor.position, 0) if self.active else 0

    def listen(self, listening: AbstractContextManager[Tail]) -> None:
        """Listen to the session's tail from now on."""
        self.tail = listening.__enter__()
        self._listening = listening

    async def reach(self, view: SessionView) -> None:
        """Wait until the tail has what the view shows: the owner answers before it publishes."""
        self._epoch = view.epoch
        with trio.move_on_after(CATCH_UP_S):  # noqa: ASYNC912 - waits, or has nothing to wait for
            while self.tail.epoch == view.epoch and self.tail.head_seq < view.head_seq:
                self._changed = trio.Event()
                await self._changed.wait()
        self._changed = None

    def start(self) -> None:
        """Allow the writer to ask from now on."""
        self.active = True
        self._begins = self.tail.head_seq
        self.writer.mark_ready(self)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self.active = False
        listening, self._listening = self._listening, None
        if listening is not None:
            self.writer.forget(self)
            listening.__exit__(None, None, None)

    def wake(self) -> None:
        """Implements `actors.tail.Listener`."""
        if self._changed is not None:
            self._changed.set()
        if self._behind_at is None and self.active and self.tail.head_seq > self.cursor.position:
            self._behind_at = trio.current_time()
        if self.active and not self.stays_held():
            self.writer.mark_ready(self, self.take_nowait)

    def stays_held(self) -> bool:
        """Return whether news wait behind something that is held anyway: then there is nothing to send yet."""
        return False

    def note_taken(self, items: Sequence[Committed]) -> None:
        """Note events that the device's writer takes just now, for its delays. Its past does not count."""
        first, last = items[0], items[-1]
        behind_at, lags = self._behind_at, self._lags
        self._lags = last.seq < self.tail.head_seq
        if not self._lags:
            self._behind_at = None
        if behind_at is None or last.seq <= self._begins:
            return
        self.record.joined += last.seq - first.first_seq + 1 - len(items)
        if self._unwritten_at is None:
            # Of one that lagged already only the event's own time says how long this event has waited.
            waited_s = max(0, self.clock() - first.at_ms) / 1000 if lags else math.inf
            self._unwritten_at = max(behind_at, trio.current_time() - waited_s)

    def written(self, now: float) -> None:
        """Implements `transport.websocket.writer.RoundSource`."""
        if self._unwritten_at is not None:
            self.record.write_s.observe(now - self._unwritten_at)
            self._unwritten_at = None

    def note_failure(self, error: StorageError) -> bool:
        """Note that a read failed; return whether it is the first failure after a success. Only that is logged."""
        if self.failing:
            return False
        self.failing = True
        logger.warning(
            "session %s: cannot be read for device %s: %s", self.session_id, self.own.device_id, error
        )
        return True

    def take_nowait(self) -> bytes | None:
        """Return what `take` would if that needs no waiting; None, and nothing taken, otherwise."""
        return None

    @abstractmethod
    async def take(self, now: float) -> bytes:
        """Implements `transport.websocket.writer.RoundSource`."""

    @abstractmethod
    def due(self, now: float) -> float:
        """Implements `transport.websocket.writer.RoundSource`."""
