"""A session of another node, as this node's devices see it: a tail that is filled from the journal.

Its home says how far the session is; the events themselves are read from the journal, never beyond what the home said.
So nothing is lost with a lost mail, and an answer still comes before its events.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from actors.events.codec import decode_row
from actors.nodes.mail import TailMail
from actors.ports import Journal
from actors.tail import AttachedDevice, Listener, Presence, SessionProblem, Tail
from storage.errors import SessionMissing, StorageError

__all__ = ["Replica", "ReplicaTail"]

PAGE_ROWS: Final = 256
"""Rows read at once; a tail that is further behind is not filled, and its readers go to the journal."""

RETRY_S: Final = 0.3

SURE_S: Final = 5.0
"""How long ago a head may have been read from the database that this tail has reached; else nobody vouches for it."""

_log = logging.getLogger("builderos.actors")


async def _nothing(_: int, __: int) -> None:
    pass


@attrs.define(eq=False)
class ReplicaTail(Tail):
    """The tail of a session of another node.

    Attributes:
        others: the devices at other nodes, as the home said last.
        moved: called when a listener came or went. Must not block.
        is_heard: whether this node hears the others.
        sure_at: when a head was read that this tail has reached, by Trio's clock.
    """

    others: tuple[AttachedDevice, ...] = ()
    moved: Callable[[], None] = lambda: None
    is_heard: Callable[[], bool] = lambda: True
    sure_at: float = -math.inf

    @property
    def is_current(self) -> bool:
        """Whether the head is known to be the session's."""
        return self.is_heard() and trio.current_time() - self.sure_at <= SURE_S

    @property
    def devices(self) -> tuple[AttachedDevice, ...]:
        """Who is attached, at any node."""
        return (*self.others, *self.own_devices)

    @property
    def own_devices(self) -> tuple[AttachedDevice, ...]:
        """Who is attached at this node."""
        return tuple(one.device for one in self.listeners if one.device is not None)

    @contextmanager
    def listen(self, listener: Listener) -> Iterator[Tail]:
        """Wake `listener` at all news while inside the block, and let the home know of it."""
        try:
            with Tail.listen(self, listener) as tail:
                self.moved()
                yield tail
        finally:
            self.moved()


@attrs.define(eq=False)
class Replica:
    """Keeps one such tail. `run` fills it.

    Attributes:
        home: the session's node.
        settle: called before the tail moves from one head to another: answers messages whose events come then.
    """

    session_id: str
    home: str
    journal: Journal
    tail: ReplicaTail
    settle: Callable[[int, int], Awaitable[None]] = _nothing
    _target: tuple[int, int] = (0, 0)
    _polled: tuple[int, int] | None = None
    _polled_at: float = -math.inf
    _problem: SessionProblem | None = None
    _wake: trio.Event = attrs.field(factory=trio.Event)

    def begin(self, epoch: int, head_seq: int) -> None:
        """Be at least where the home's answer to an attach is, at once. An earlier epoch is a new session of this id."""
        tail = self.tail
        tail.sure_at = trio.current_time()
        if tail.epoch != epoch or tail.head_seq < head_seq:
            self._target = (epoch, head_seq)
            tail.reset(epoch, head_seq)

    def take(self, mail: TailMail) -> None:
        """Take what the home sends."""
        if mail.others != self.tail.others:
            self.tail.others = mail.others
            self.tail.post_nowait(Presence(self.tail.devices))
        for news in mail.news:
            self.tail.post_nowait(news)
        self._want(mail.epoch, mail.head_seq)

    def polled(self, found: tuple[int, int] | None, at: float) -> None:
        """Take what the database has. It counts at the next time: until then the home's own mail is faster.

        Args:
            found: None if the session is gone.
            at: when the question was asked, by Trio's clock.
        """
        if found is None:
            self.tail.reset(self.tail.epoch + 1, 0)
            self._target = (self.tail.epoch, 0)
        elif self._polled is not None:
            self._want(*self._polled)
            if (self.tail.epoch, self.tail.head_seq) >= self._polled:
                self.tail.sure_at = self._polled_at
        self._polled, self._polled_at = found, at

    def show(self, problem: SessionProblem | None) -> None:
        """Tell the devices of a problem that this node found, or that it is over; once."""
        if problem == self._problem:
            return
        self.tail.post_nowait(problem or SessionProblem(None, "the session works again"))
        self._problem = problem

    def _want(self, epoch: int, head_seq: int) -> None:
        if (epoch, head_seq) > self._target:
            self._target = (epoch, head_seq)
            self._wake.set()

    async def run(self) -> None:
        """Fill the tail until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            try:
                while (self.tail.epoch, self.tail.head_seq) < self._target:
                    epoch, head_seq = self._target
                    await self.settle(self.tail.head_seq, head_seq)
                    await self._read(epoch, head_seq)
            except SessionMissing:
                continue
            except StorageError as error:
                _log.info("session %s: cannot be read yet: %s", self.session_id, error)
                await trio.sleep(RETRY_S)
                self._wake.set()

    async def _read(self, epoch: int, head_seq: int) -> None:
        tail = self.tail
        after = tail.head_seq
        if tail.epoch != epoch or head_seq - after > PAGE_ROWS * 8:
            tail.reset(epoch, head_seq)
            return
        rows = await self.journal.read(self.session_id, after, PAGE_ROWS, before=head_seq + 1)
        if (tail.epoch, tail.head_seq) != (epoch, after):
            return  # it was reset meanwhile
        items = [decode_row(row) for row in rows]
        if not items or items[0].first_seq != after + 1:
            tail.reset(epoch, head_seq)  # folded below it: readers go to the journal
        else:
            tail.publish_nowait(items, [len(row.payload) for row in rows])
