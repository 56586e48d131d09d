"""Sends `rendered` frames: the answer of a turn that just ended, as HTML, for the devices that asked for it.

One task for the whole port reads each such answer from the journal once, renders it, and sends the same bytes to all. A
device that did not see the end of a turn gets no rendering of it, so the frame always follows the end. A rendering that
is too late or too large is left out: the device has the text.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable
from typing import Final

import attrs
import orjson
import trio

from actors.events.codec import decode_row
from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import TurnStarted
from actors.ports import Clock, Journal
from storage.errors import StorageError
from transport.ports import Renders
from transport.rendering.renderer import MAX_SOURCE_CHARS
from transport.transcript import ANSWER_KINDS, Answers
from transport.v3.events import timestamp
from transport.websocket.frames import MAX_FRAME_BYTES, text_frame
from transport.websocket.writer import DeviceWriter

__all__ = ["RenderedFeed", "Renderings"]

MAX_WANTED: Final = 1000
"""Turns in line, over all sessions; turns that end while so many wait are not rendered."""

MAX_HELD: Final = 8
"""Frames that wait for one slow device; beyond that the oldest are dropped."""

ROWS: Final = 256
"""Rows of an answer that are read at once."""

logger = logging.getLogger("builderos.transport")


@attrs.frozen
class _Turn:
    session_id: str
    turn_id: str
    end_seq: int


@attrs.define(eq=False)
class RenderedFeed:
    """The renderings for one attachment; a source of the connection's writer.

    Attributes:
        since: ends up to here belong to the past; the device has them, or asks for them.
    """

    session_id: str
    writer: DeviceWriter
    renderings: Renderings
    active: bool = False
    since: int = 0
    _frames: deque[bytes] = attrs.field(factory=lambda: deque(maxlen=MAX_HELD))

    def note(self, items: Iterable[Committed]) -> None:
        """Ask for renderings of the turns that end in these rows, which are on their way to the device."""
        for item in items:
            if item.event.kind in TURN_ENDS and item.turn_id is not None and item.seq > self.since:
                self.renderings.want(_Turn(self.session_id, item.turn_id, item.seq), self)

    def start(self) -> None:
        """Allow the writer to ask from now on."""
        self.active = True
        self.writer.mark_ready(self)

    def close(self) -> None:
        """Drop all wanted renderings. Idempotent."""
        self.active = False
        self._frames.clear()
        self.writer.forget(self)

    def put(self, frame: bytes) -> None:
        """Queue a frame for the device. Never blocks."""
        self._frames.append(frame)
        if self.active:
            self.writer.mark_ready(self)

    async def take(self, now: float) -> bytes:
        """Implements `transport.websocket.writer.RoundSource`. One frame at a time: each may be as long as a batch."""
        await trio.lowlevel.checkpoint()
        return self._frames.popleft() if self._frames else b""

    def written(self, now: float) -> None:
        """Implements `transport.websocket.writer.RoundSource`."""

    def due(self, now: float) -> float:
        """Implements `transport.websocket.writer.RoundSource`."""
        return now if self._frames else math.inf


@attrs.define(eq=False)
class Renderings:
    """The renderings of one port."""

    renderer: Renders
    journal: Journal
    clock: Clock
    _wanted: dict[_Turn, list[RenderedFeed]] = attrs.field(factory=dict)
    _more: trio.Event = attrs.field(factory=trio.Event)

    def want(self, turn: _Turn, feed: RenderedFeed) -> None:
        """Give `feed` the turn's frame once it is ready. Never blocks."""
        if turn not in self._wanted and len(self._wanted) >= MAX_WANTED:
            return
        self._wanted.setdefault(turn, []).append(feed)
        self._more.set()

    async def run(self) -> None:
        """Render until cancelled, one turn after another."""
        while True:
            if not self._wanted:
                self._more = trio.Event()
                await self._more.wait()
            turn = next(iter(self._wanted))
            frame = await self._frame_or_none(turn)
            for feed in self._wanted.pop(turn):
                if frame is not None:
                    feed.put(frame)

    async def _frame_or_none(self, turn: _Turn) -> bytes | None:
        if not any(feed.active for feed in self._wanted[turn]):
            await trio.lowlevel.checkpoint()
            return None
        try:
            return await self._frame(turn)
        except StorageError as error:
            logger.warning("session %s: an answer was not rendered: %s", turn.session_id, error)
        except Exception:
            # An answer that cannot be read must not keep the others from their devices.
            logger.exception("session %s: an answer was not rendered", turn.session_id)
        return None

    async def _frame(self, turn: _Turn) -> bytes | None:
        blocks = await self._blocks(turn)
        html = None if not blocks else await self.renderer.render(list(blocks.items()))
        if html is None:
            return None
        body = {
            "type": "rendered",
            "content": "The answer, rendered.",
            "timestamp": timestamp(self.clock()),
            "session_id": turn.session_id,
            "turn_id": turn.turn_id,
            "html": html,
        }
        text = orjson.dumps(body)
        return text_frame(text) if len(text) <= MAX_FRAME_BYTES else None

    async def _blocks(self, turn: _Turn) -> dict[str, str] | None:
        """Return a turn's blocks; None if they are too long to be rendered."""
        starts = await self.journal.read(
            turn.session_id, 0, 1, before=turn.end_seq, kinds={TurnStarted.kind}, newest=True
        )
        after = starts[-1].seq if starts else turn.end_seq
        answers = Answers([turn.turn_id])
        answer = answers.by_turn[turn.turn_id]
        while not answers.complete:
            rows = await self.journal.read(turn.session_id, after, ROWS, kinds=ANSWER_KINDS)
            if not rows:
                break
            answers.add(map(decode_row, rows))
            if sum(map(len, answer.blocks.values())) > MAX_SOURCE_CHARS:
                return None
            after = rows[-1].seq
        return answer.blocks
