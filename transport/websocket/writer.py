"""What writes on a connection: answers from the outbox, and event batches from the sources that the device follows.

One task writes, and only while there is something to write: most connections are idle, and a task costs memory. While
events come it waits for the next ones; after answers or a heartbeat alone it ends.

Only a few answers are queued for a slow device. Each source keeps a place of its own; a source with new events is only
marked, and read when the socket accepts more.

Order: batches are collected first, which may wait for the journal. The outbox is emptied at the moment of writing, in
front of them. A reply gets into the outbox before its events are published, so `accepted` precedes its events. A source
that was removed meanwhile is left out, so nothing follows its `detached`, and nothing comes twice after a new `attach`.

While no task writes and nothing is queued, a single source that is ready is written in the moment of its news, without a
task: nearly all events of an answer go this way, and so do heartbeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import attrs
import trio

from transport.streams import FrameStream
from transport.websocket.close_codes import CloseCode
from transport.websocket.frames import text_frame

__all__ = ["OUTBOX_BYTES", "OUTBOX_COUNT", "DeviceWriter", "RoundSource", "WriterOwner"]

JOIN_BYTES: Final = 256 * 1024
"""Batches are joined into one write up to this size and one batch more: enough to keep a connection busy."""

OUTBOX_BYTES: Final = 128 * 1024
OUTBOX_COUNT: Final = 64
"""The reader accepts no more frames while this many replies wait. Replies to earlier commands still arrive: at most as
many as the mailboxes of the sessions' owners hold."""


class RoundSource(Protocol):
    """A source of frames that a device follows."""

    @property
    def active(self) -> bool:
        """Whether the device still follows it."""
        ...

    async def take(self, now: float) -> bytes:
        """Return whole frames that are due, once; empty if there are none. Must not raise."""
        ...

    def due(self, now: float) -> float:
        """Return when `take` may return something: by `now`, a later time, or infinity until it is woken."""
        ...

    def written(self, now: float) -> None:
        """Note that the socket has taken all frames that `take` returned. Must not block or raise."""
        ...


class WriterOwner(Protocol):
    """The connection of a writer."""

    def heartbeats(self) -> Sequence[bytes]:
        """Return the texts of a heartbeat."""
        ...

    def start_writing(self) -> None:
        """Start a task that calls `DeviceWriter.run`. Must not block."""
        ...


@attrs.define(eq=False)
class DeviceWriter:
    """The writer of one connection. The owner calls `run` for the first time, and then whenever it is asked to.

    Attributes:
        on_sent: called after each complete write.
        ended: nothing is written any more; the owner sets it at its own end.
    """

    stream: FrameStream
    owner: WriterOwner
    on_sent: Callable[[], None] | None = None
    closing: CloseCode | None = None
    ended: bool = False
    _outbox: list[bytes] = attrs.field(factory=list)
    _outbox_bytes: int = 0
    _writing_bytes: int = 0
    _cut_off: RoundSource | None = None
    _room: trio.Event | None = None
    _ready: dict[RoundSource, None] = attrs.field(factory=dict)
    _later: dict[RoundSource, float] = attrs.field(factory=dict)
    _runs: bool = True
    _wake: trio.Event | None = None
    _woken: bool = False
    _beat_due: bool = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the device: here, and as far as the system says so, in its socket."""
        return self._outbox_bytes + self._writing_bytes + self.stream.unsent_bytes()

    def put(self, text: bytes) -> None:
        """Queue `text` for the device, in order, before any batch that is not being written yet. Never blocks."""
        self.put_frames(text_frame(text))

    def put_frames(self, frames: bytes) -> None:
        """The same for whole frames."""
        if self.closing is not None or not frames:
            return
        self._outbox.append(frames)
        self._outbox_bytes += len(frames)
        self.wake()

    def mark_ready(self, source: RoundSource, take_nowait: Callable[[], bytes | None] | None = None) -> None:
        """Note that `source` may have something. Never blocks.

        `take_nowait` returns what `take` would if that needs no waiting; else None, and nothing is taken. Must not raise.
        """
        self._ready[source] = None
        alone = len(self._ready) == 1 and self._is_idle
        if take_nowait is None or not alone or not self._wrote_now(source, take_nowait):
            self.wake()

    def forget(self, source: RoundSource) -> None:
        """Stop reading `source`."""
        self._ready.pop(source, None)
        self._later.pop(source, None)

    def heartbeat_now(self) -> None:
        """Write or queue a heartbeat. Never blocks."""
        self._beat_due = not self._is_idle or bool(self._ready) or self._wake is not None
        frames = b"" if self._beat_due else b"".join(map(text_frame, self.owner.heartbeats()))
        if self._beat_due or (frames and not self._sent_now(frames)):
            self.wake()

    def close(self, code: CloseCode) -> None:
        """Write the outbox, then end. The first code counts."""
        if self.closing is None:
            self.closing = code
            self.wake()

    def wake(self) -> None:
        """Let `run` check its sources again."""
        self._woken = True
        if self._wake is not None:
            self._wake.set()
        elif not self._runs and not self.ended:
            self._runs = True
            self.owner.start_writing()

    @property
    def _is_idle(self) -> bool:
        """Whether no task writes just now, and nothing is queued that comes first."""
        return (
            (not self._runs or self._wake is not None)
            and not self._woken
            and not self._outbox
            and self.closing is None
            and not self.ended
            and self.stream.can_send_now
        )

    def _wrote_now(self, source: RoundSource, take_nowait: Callable[[], bytes | None]) -> bool:
        """Write what the only ready source has; False if `run` has to do it, or the rest of it."""
        frames = take_nowait() if source.active else None
        if frames is None:
            return False
        del self._ready[source]
        if not frames:
            return True
        if not self._sent_now(frames):
            self._cut_off = source
            return False
        source.written(trio.current_time())
        return True

    def _sent_now(self, frames: bytes) -> bool:
        """Write frames without a task; False if a rest is left for `run`."""
        if not self.stream.send_frames_nowait(frames):
            return False
        if self.on_sent is not None:
            self.on_sent()
        return True

    async def wait_room(self) -> None:
        """Wait until the outbox is below its bound."""
        while self._outbox_bytes > OUTBOX_BYTES or len(self._outbox) > OUTBOX_COUNT:
            self._room = trio.Event()
            await self._room.wait()

    async def run(self) -> Literal["rests", "ended"]:
        """Write what there is; return "ended" after `close` and the rest, or once trio-websocket has closed.

        Raises:
            BrokenResourceError, ClosedResourceError: the device is gone.
            WriteTimedOut: it accepts nothing.
        """
        verdict: Literal["rests", "ended"] = "ended"
        try:
            verdict = await self._run()
        finally:
            self._runs = False
            self.ended = self.ended or verdict == "ended"
        return verdict

    async def _run(self) -> Literal["rests", "ended"]:
        expects_more = False
        while True:
            self._woken = False
            now = trio.current_time()
            self._look_at_clock(now)
            rounds = await self._collect(now)
            data = self._drain(rounds)
            if data or self.stream.has_rest:
                self._writing_bytes = len(data)
                if not await self.stream.send_frames(data):
                    return "ended"
                expects_more = bool(rounds)
                self._writing_bytes = 0
                self._note_written(rounds)
                if self.on_sent is not None:
                    self.on_sent()
                if self._ready:
                    await trio.lowlevel.checkpoint()
            elif self.closing is not None:
                return "ended"
            elif self._ready:
                await trio.lowlevel.checkpoint()
            elif not self._woken and not expects_more and not self._later:
                self._ready = {}  # one that was filled keeps its room
                return "rests"
            elif not self._woken:
                await self._wait()

    def _note_written(self, rounds: Sequence[tuple[RoundSource, bytes]]) -> None:
        cut_off, self._cut_off = self._cut_off, None
        if rounds or cut_off is not None:
            now = trio.current_time()
            if cut_off is not None:
                cut_off.written(now)
            for source, _ in rounds:
                source.written(now)

    def _look_at_clock(self, now: float) -> None:
        if self._beat_due:
            self._beat_due = False
            for text in self.owner.heartbeats():
                self.put(text)
        if self._later:
            for source in [source for source, at in self._later.items() if at <= now]:
                del self._later[source]
                self._ready[source] = None

    async def _collect(self, now: float) -> list[tuple[RoundSource, bytes]]:
        taken: list[tuple[RoundSource, bytes]] = []
        size = 0
        for source in tuple(self._ready):
            if size >= JOIN_BYTES or self.closing is not None:
                break
            # It moves to the end of the row, or leaves it: the next write begins with another source.
            self._ready.pop(source, None)
            self._later.pop(source, None)
            if not source.active:
                continue
            frames = await source.take(now)
            if frames:
                taken.append((source, frames))
                size += len(frames)
            self._arm(source, now)
        return taken

    def _arm(self, source: RoundSource, now: float) -> None:
        due = source.due(now) if source.active else math.inf
        if due <= now:
            self._ready[source] = None
        elif due < math.inf:
            self._later[source] = due

    def _drain(self, rounds: Sequence[tuple[RoundSource, bytes]]) -> bytes:
        parts = self._outbox
        parts.extend(frames for source, frames in rounds if source.active)
        self._outbox = []
        self._outbox_bytes = 0
        if self._room is not None:
            self._room.set()
            self._room = None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _wait(self) -> None:
        self._wake = trio.Event()
        if self._later:
            with trio.move_on_at(min(self._later.values())):
                await self._wake.wait()
        else:
            await self._wake.wait()
        self._wake = None
