"""The newest part of a live session's journal, in memory, shared by all who read it.

The tail also carries the session's transient news (who is attached, drafts, trouble): the newest value of each kind with
a version, never a queue. A listener that is woken looks at both and takes what is new to it. So a slow listener costs
nothing: it reads later, from here while it can and from the journal if it has fallen behind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import attrs
import trio

from actors.events.committed import URGENT_KINDS, Committed
from actors.events.pieces import join_pieces
from actors.offer import Offer
from bridgehub.protocol.tool_events import ToolOutput

__all__ = [
    "AttachedDevice",
    "DraftChanged",
    "EventBatch",
    "Followed",
    "Following",
    "GaugeMoved",
    "Listener",
    "OfferChanged",
    "Presence",
    "QuietTails",
    "ReadMarkMoved",
    "SessionProblem",
    "Tail",
    "ToolOutputs",
    "TransientUpdate",
    "Watchers",
]

TAIL_BYTES = 256 * 1024
"""Payload bytes that a tail keeps; a reader behind it reads the journal."""

IDLE_TAIL_BYTES = 8 * 1024
"""The same once the session has come to rest: an idle one must cost little."""

ROUND_ITEMS = 256
"""Items that one round takes before joining: bounds the time of one encoding, to under a millisecond of tool events.
Of pieces a batch of the hub has one item for hundreds."""


ROUNDS_KEPT = 64
"""Rounds that are kept encoded for others at the same place; each is at most the tail and its frames."""


@attrs.frozen
class AttachedDevice:
    """A device as others on the session see it."""

    device_id: str
    name: str
    observe: bool


@attrs.frozen
class Presence:
    """Who is attached now."""

    devices: tuple[AttachedDevice, ...]


@attrs.frozen
class DraftChanged:
    """What somebody is typing."""

    content: str
    by_device: str


@attrs.frozen
class ReadMarkMoved:
    """How far the person has read."""

    read_seq: int
    by_device: str


@attrs.frozen
class OfferChanged:
    """What the session's agent offers now."""

    offer: Offer


@attrs.frozen
class GaugeMoved:
    """The agent's last report of its context, cost and limits."""

    gauge: Mapping[str, Any]


@attrs.frozen
class SessionProblem:
    """Something is wrong with the session: `storage` or `session_failed`; None once it is over."""

    code: str | None
    content: str


@attrs.frozen
class ToolOutputs:
    """What the running tools of a turn have printed so far."""

    turn_id: str
    outputs: tuple[ToolOutput, ...]


TransientUpdate = (
    Presence | DraftChanged | ReadMarkMoved | OfferChanged | GaugeMoved | ToolOutputs | SessionProblem
)


class Listener(Protocol):
    """A follower of a session: one attachment of one connection."""

    @property
    def device(self) -> AttachedDevice | None:
        """How it is shown in `presence`; None for a listener that is not a device."""
        ...

    def wake(self) -> None:
        """Note that there is something new. Must not block, raise or call back."""
        ...


@attrs.define(eq=False)
class EventBatch:
    """What a reader takes at once: neighbouring pieces joined, in order. Shared by all at the same place.

    `encoded` is the codecs' own: bytes by codec name, so that a round is encoded once for all devices.
    """

    session_id: str
    epoch: int
    items: tuple[Committed, ...]
    encoded: dict[str, bytes] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Tail:
    """The tail of one session. Lives as long as anybody uses the session, over restarts of its actor."""

    session_id: str
    epoch: int
    head_seq: int
    urgent_seq: int = 0
    """The newest seq that starts a paced device's round at once."""
    news_version: int = 0
    _items: list[Committed] = attrs.field(factory=list)
    _sizes: list[int] = attrs.field(factory=list)
    _bytes: int = 0
    _rounds: dict[int, EventBatch] = attrs.field(factory=dict)
    _news: dict[type[TransientUpdate], tuple[int, TransientUpdate]] = attrs.field(factory=dict)
    _listeners: dict[Listener, None] = attrs.field(factory=dict)

    @property
    def devices(self) -> tuple[AttachedDevice, ...]:
        """Who is attached, in the order of attaching."""
        return tuple(listener.device for listener in self._listeners if listener.device is not None)

    @property
    def is_current(self) -> bool:
        """Whether the head is known to be the session's."""
        return True

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """All that listen, devices or not."""
        return tuple(self._listeners)

    @property
    def listener_count(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def is_watched(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    @contextmanager
    def listen(self, listener: Listener) -> Iterator[Tail]:
        """Wake `listener` at all news while inside the block, and show it in `presence`."""
        self.join(listener)
        try:
            yield self
        finally:
            self.leave(listener)

    def join(self, listener: Listener) -> None:
        """The same until `leave`."""
        self._listeners[listener] = None
        self._post_presence(listener)

    def leave(self, listener: Listener) -> None:
        """End what `join` began."""
        del self._listeners[listener]
        self._post_presence(listener)

    def publish_nowait(self, items: Sequence[Committed], sizes: Sequence[int]) -> None:
        """Take committed items that follow `head_seq`, and wake everybody. `sizes`: their payloads' bytes."""
        if not items:
            return
        assert items[0].first_seq == self.head_seq + 1, "a tail takes what follows its head"
        self._items.extend(items)
        self._sizes.extend(sizes)
        self._bytes += sum(sizes)
        self.head_seq = items[-1].seq
        for item in reversed(items):
            if item.event.kind in URGENT_KINDS:
                self.urgent_seq = item.seq
                break
        self._trim(TAIL_BYTES)
        self._rounds.clear()
        self._wake_all()

    def rest(self) -> None:
        """Keep only a little, for a session that has come to rest: those who are behind read the journal."""
        self._trim(IDLE_TAIL_BYTES)
        self._rounds.clear()

    def reset(self, epoch: int, head_seq: int) -> None:
        """Forget what is held, for an owner that reloaded: readers go to the journal."""
        self._items.clear()
        self._sizes.clear()
        self._bytes = 0
        self._rounds.clear()
        self.urgent_seq = head_seq
        self.epoch, self.head_seq = epoch, head_seq
        self._wake_all()

    def read_nowait(self, after: int) -> EventBatch | None:
        """Return what follows `after` up to a bound, joined; None if only the journal still has it."""
        if after >= self.head_seq:
            return EventBatch(self.session_id, self.epoch, ())
        known = self._rounds.get(after)
        if known is not None:
            return known
        if self._items and self._items[-1].first_seq == after + 1:
            items = self._items[-1:]  # nearly always a reader lacks the newest event alone
        else:
            start = bisect_right(self._items, after, key=lambda item: item.seq)
            if start == len(self._items) or self._items[start].first_seq > after + 1:
                return None
            items = join_pieces(self._items[start : start + ROUND_ITEMS])
        made = EventBatch(self.session_id, self.epoch, tuple(items))
        if len(self._rounds) >= ROUNDS_KEPT:
            self._rounds.clear()
        self._rounds[after] = made
        return made

    def post_nowait(self, news: TransientUpdate) -> None:
        """Replace the news of this kind and wake everybody."""
        self.news_version += 1
        self._news[type(news)] = (self.news_version, news)
        self._wake_all()

    def news_since(self, version: int) -> list[TransientUpdate]:
        """Return what was posted after `version`, oldest first."""
        newer = [pair for pair in self._news.values() if pair[0] > version]
        return [news for _, news in sorted(newer, key=lambda pair: pair[0])]

    def _post_presence(self, about: Listener) -> None:
        if about.device is not None:
            self.post_nowait(Presence(self.devices))
        else:
            self._wake_all()

    def _trim(self, limit: int) -> None:
        drop = 0
        while self._bytes > limit and drop < len(self._items):
            self._bytes -= self._sizes[drop]
            drop += 1
        del self._items[:drop]
        del self._sizes[:drop]

    def _wake_all(self) -> None:
        for listener in tuple(self._listeners):
            listener.wake()


@attrs.define(eq=False)
class QuietTails:
    """Lets tails rest. One task for all sessions: a deadline for each would cost at every piece.

    Attributes:
        rest_s: how long after its last event a tail rests at the earliest; at the latest it is twice as long.
        all_rest: called each time that the last of them has come to rest. Must not raise.
    """

    rest_s: float
    all_rest: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
    _fresh: dict[Tail, None] = attrs.field(factory=dict)
    _older: dict[Tail, None] = attrs.field(factory=dict)
    _woken: trio.Event = attrs.field(factory=trio.Event)

    def published(self, tail: Tail) -> None:
        """Note that a tail has a new event. Never blocks."""
        self._older.pop(tail, None)
        self._fresh[tail] = None
        self._woken.set()

    async def run(self) -> None:
        """Let tails rest, until cancelled."""
        while True:
            await self._woken.wait()
            await trio.sleep(self.rest_s)
            for tail in self._older:
                tail.rest()
            self._older, self._fresh = self._fresh, {}
            if not self._older:
                self._woken = trio.Event()
                await self.all_rest()


class Followed(Protocol):
    """The owner of sessions that listeners follow."""

    def join(self, session_id: str, listener: Listener) -> Tail:
        """Begin to wake `listener` at the session's news."""
        ...

    def leave(self, tail: Tail, listener: Listener) -> None:
        """End it. The session may be gone by then, or another one may have its id."""
        ...


@attrs.define(eq=False)
class Following:
    """The block in which a listener follows a session. As a generator it would cost each attachment half a KiB."""

    owner: Followed
    session_id: str
    listener: Listener
    tail: Tail = attrs.field(init=False)

    def __enter__(self) -> Tail:
        self.tail = self.owner.join(self.session_id, self.listener)
        return self.tail

    def __exit__(self, *error: object) -> None:
        self.owner.leave(self.tail, self.listener)


@attrs.define(eq=False)
class Watchers:
    """Who hears that a session's entry in a list may have changed."""

    _changed: dict[Callable[[str], None], None] = attrs.field(factory=dict)

    def watch(self, changed: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call `changed` with the session's id, while inside the block."""
        return _Watching(self._changed, changed)

    def tell(self, session_id: str) -> None:
        """Tell all who watch. Never blocks."""
        for changed in tuple(self._changed):
            changed(session_id)


@attrs.define(eq=False)
class _Watching:
    """The block in which somebody is among `watchers`. It costs less than a generator."""

    watchers: dict[Callable[[str], None], None]
    watcher: Callable[[str], None]

    def __enter__(self) -> None:
        self.watchers[self.watcher] = None

    def __exit__(self, *error: object) -> None:
        del self.watchers[self.watcher]
