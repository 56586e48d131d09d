"""A hub's numbered events, kept until the server has them in its journal.

Theory of operation. An event gets its number when it is put in. Oldest to newest, unacknowledged events lie

    spool file (blocks of lines)  |  sealed lines in memory  |  the open piece

The *open piece* is where neighbouring pieces of one block join as long as nothing took them: flat out, one
line a write carries hundreds. Taking **seals**: a line that was ever taken keeps its range for good, so that
whatever a server has journalled ends at the end of a line and a later link can continue exactly behind it.

When an event leaves. At a person's pace the link waits for nothing, and a piece is written in the moment that it is put,
without waking the link's task. Pieces that follow each other closely are left to that task, which takes all there are.
While the server has more to do than its machine can, it says how long pieces should gather (`gather_s`): then a piece
waits until the last write is so long ago. Anything but a piece takes what waits along at once.

Bounds. Memory holds `limit_bytes`. Over it, with no server there, everything in memory moves to the spool; a
spool that is full, or a server that is there and does not acknowledge, makes `put` wait, and so the driver
stops reading from its agent. With a server there the disk is left alone on purpose: waiting is the cheaper
answer to a short jam, and a server that is gone for good closes its socket, which starts the spool.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from pathlib import Path

import attrs
import orjson
import trio

from bridgehub.protocol.codec import MAX_LINE_BYTES, encode_reported, json_size
from bridgehub.protocol.events import HubEvent, TextPiece, ToolsPrinted
from bridgehub.protocol.limits import clip
from bridgehub.spool import Spool

__all__ = ["EventTooLarge", "Outbox", "OutboxStatistics"]

_log = logging.getLogger("builderos.bridgehub")

OUTBOX_BYTES = 1024 * 1024
"""Bytes of unacknowledged lines in memory: what a session may cost while its server is slow or gone."""

MAX_PIECE_BYTES = 256 * 1024
"""Bytes of JSON that the text of one line may take (PROTOCOL, "Text")."""

BATCH_BYTES = 256 * 1024
"""Bytes of one take, so of one socket write; a single line may be longer."""

CLOSE_S = 0.002
"""A piece that follows the last write within this time waits for the link's task, so that its neighbours can join."""

MAX_GATHER_S = 0.02
"""How long pieces gather at most, whatever a server says."""

_LINE_OVERHEAD_BYTES = 200
"""What a line holds beside its text, roughly; also the least that a piece counts."""


class EventTooLarge(Exception):
    """A driver reported an event that no line can carry."""


@attrs.frozen
class OutboxStatistics:
    """What an outbox holds: unacknowledged events, bytes in memory and in the spool."""

    unacknowledged: int
    memory_bytes: int
    spool_bytes: int


@attrs.frozen
class _Line:
    first_seq: int
    seq: int
    data: bytes


@attrs.define(eq=False)
class Outbox:
    """The outbox of a hub. One task puts at a time or many; one link takes."""

    spool: Spool
    limit_bytes: int = OUTBOX_BYTES
    head_seq: int = 0
    """The number of the newest event."""
    acked_seq: int = 0
    gather_s: float = 0.0
    """How long after the last write the next pieces wait."""
    _write_nowait: Callable[[bytes], int] | None = None
    _unwritten: bytes = b""
    _wrote_at: float = -math.inf
    _lines: deque[_Line] = attrs.field(factory=deque)
    _bytes: int = 0
    _taken: int = 0  # how many of _lines this link has taken
    _blocks_taken: int = 0
    _attached: bool = False
    _spool_failed: bool = False
    _newest: dict[type[HubEvent], HubEvent] = attrs.field(factory=dict)
    _printed: ToolsPrinted | None = None
    """What running tools have printed. No journal has it, so each link gets it."""
    _open: TextPiece | None = None
    _open_texts: list[str] = attrs.field(factory=list)
    _open_first: int = 0
    _open_bytes: int = 0
    _gathers: bool = False
    """Whether the link's task waits for more pieces."""
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    # ---- the agent's side ----

    async def put(self, event: HubEvent) -> None:
        """Number and keep an event. Checkpoints only if it waits for room.

        What is too long in it is cut (`protocol.limits`); a piece over 256 KiB as JSON becomes several. Cancelling one
        that waits leaves no trace of it, or of that part of a long piece.

        Raises:
            EventTooLarge: the event, not being a piece, is over the limit of a line.
        """
        event = clip(event)
        if type(event) is TextPiece:
            if len(event.text) * 6 > MAX_PIECE_BYTES and json_size(event.text) > MAX_PIECE_BYTES:
                middle = len(event.text) // 2
                await self.put(attrs.evolve(event, text=event.text[:middle]))
                await self.put(attrs.evolve(event, text=event.text[middle:]))
                return
            while self.is_full:
                await self._room.park()
            self._put_piece(event)
        else:
            if len(encode_reported(1, 1, event)) > MAX_LINE_BYTES - _LINE_OVERHEAD_BYTES:
                raise EventTooLarge(type(event).__name__)
            while self.is_full:
                await self._room.park()
            self._seal()
            self.head_seq += 1
            self._keep(
                _Line(self.head_seq, self.head_seq, encode_reported(self.head_seq, self.head_seq, event))
            )
        self._after_put(urgent=type(event) is not TextPiece)

    def put_newest_nowait(self, event: HubEvent) -> None:
        """Keep an event of which only the newest of its class counts: the next link gets that one.

        It gets its number when a link takes it; one that nobody took is lost with the hub.
        """
        event = clip(event)
        if len(encode_reported(1, 1, event)) > MAX_LINE_BYTES - _LINE_OVERHEAD_BYTES:
            _log.warning("%s is too long for a line and was left out", type(event).__name__)
            return
        self._newest[type(event)] = event
        if isinstance(event, ToolsPrinted):
            self._printed = event if event.outputs else None
        if self._attached and self._news:
            self._news.unpark()

    async def put_raw(self, line: bytes) -> None:
        """Keep a line that is not an event in an event's place. Practice for the server's side (`/garbage`)."""
        while self.is_full:
            await self._room.park()
        self._seal()
        self.head_seq += 1
        self._keep(_Line(self.head_seq, self.head_seq, line))
        self._after_put(urgent=True)

    @property
    def is_full(self) -> bool:
        """Whether `put` would wait."""
        return self._bytes + self._open_bytes >= self.limit_bytes

    async def wait_acked(self, seq: int) -> None:
        """Wait until the server has acknowledged `seq`."""
        while self.acked_seq < seq:
            await self._room.park()

    # ---- the server's side ----

    def attach(self, last_seq: int, write_nowait: Callable[[bytes], int] | None = None) -> None:
        """A link takes from here on, beginning after `last_seq`, which its server has in its journal.

        Args:
            last_seq: the number of that event.
            write_nowait: writes to the link what it takes at once, and returns how many bytes that was. It is only
                called while the link's task waits in `take`. Must not raise.
        """
        self.ack(last_seq)
        self._attached = True
        self._write_nowait, self._unwritten = write_nowait, b""
        self.gather_s = 0.0
        self._taken = self._blocks_taken = 0
        if self._printed is not None:
            self._newest[ToolsPrinted] = self._printed

    def detach(self) -> None:
        """The link is gone: what memory cannot hold goes to the spool."""
        self._attached = False
        self._write_nowait, self._unwritten = None, b""
        self._spill_if_full()
        self._room.unpark_all()

    async def take(self) -> bytes:
        """Wait for events that this link has not taken, and return lines of them.

        A cancelled take took nothing.
        """
        while True:  # noqa: ASYNC913 - returns with what there is, else waits
            if self._unwritten:
                data, self._unwritten = self._unwritten, b""
                return data
            if self._blocks_taken < len(self.spool):
                data = self._take_block()
                if data:
                    return data
            elif self._taken < len(self._lines) or self._newest:
                return self._take_lines()
            elif self._open is None:
                await self._news.park()
            elif trio.current_time() >= self._wrote_at + self.gather_s:
                return self._take_lines()
            else:
                self._gathers = True
                try:
                    with trio.move_on_at(self._wrote_at + self.gather_s):
                        await self._news.park()
                finally:
                    self._gathers = False

    def ack(self, seq: int) -> None:
        """Forget events up to `seq`; a number that never was is ignored."""
        if not self.acked_seq < seq <= self.head_seq:
            return
        self.acked_seq = seq
        self._blocks_taken = max(0, self._blocks_taken - self.spool.drop_through(seq))
        while self._lines and self._lines[0].seq <= seq:
            self._bytes -= len(self._lines.popleft().data)
            self._taken = max(0, self._taken - 1)
        self._room.unpark_all()

    def leave(self, path: Path) -> None:
        """Write every unacknowledged event, fsynced, to `path`. Nothing may be called after it."""
        self._seal()
        if self._lines:
            self._spill()
        if len(self.spool):
            self.spool.keep_as(path)

    def statistics(self) -> OutboxStatistics:
        """Return what is held now."""
        return OutboxStatistics(
            self.head_seq - self.acked_seq, self._bytes + self._open_bytes, self.spool.size
        )

    # ---- inside ----

    def _put_piece(self, piece: TextPiece) -> None:
        text = piece.text
        plain = text.isascii() and text.isprintable()
        # As JSON at most (a quote takes 2 bytes, a control character 6), and a place in the list.
        size = len(text) * (2 if plain else 6) + 8
        last = self._open
        if (
            last is None
            or last.block != piece.block
            or last.channel != piece.channel
            or last.turn_id != piece.turn_id
            or self._open_bytes + size > MAX_PIECE_BYTES
        ):
            self._seal()
            self._open = piece
            self._open_first = self.head_seq + 1
            self._open_bytes = _LINE_OVERHEAD_BYTES
        self._open_texts.append(text)
        self._open_bytes += size
        self.head_seq += 1

    def _seal(self) -> None:
        """Turn the open piece into a line."""
        piece = self._open
        if piece is None:
            return
        joined = TextPiece(piece.turn_id, piece.channel, piece.block, "".join(self._open_texts))
        line = encode_reported(self._open_first, self.head_seq, joined)
        self._open = None
        self._open_texts = []
        self._open_bytes = 0
        self._keep(_Line(self._open_first, self.head_seq, line))

    def _keep(self, line: _Line) -> None:
        self._lines.append(line)
        self._bytes += len(line.data)

    def _after_put(self, *, urgent: bool) -> None:
        if not self._attached:
            if self.is_full:
                self._spill_if_full()
        elif self._news and (urgent or not self._gathers) and not self._wrote_now():
            self._news.unpark()

    def _wrote_now(self) -> bool:
        """Write what waits while the link's task waits; False if the task has to do it, or the rest of it."""
        write = self._write_nowait
        if write is None or self._gathers or self._unwritten or self._blocks_taken < len(self.spool):
            return False
        if trio.current_time() < self._wrote_at + max(CLOSE_S, self.gather_s):
            return False
        data = self._take_lines()
        self._unwritten = data[write(data) :]
        return not self._unwritten and self._taken == len(self._lines)

    def _spill_if_full(self) -> None:
        if not self.is_full or self._attached:
            return
        self._seal()
        if not self.spool.has_room(self._bytes):
            return
        try:
            self._spill()
        except OSError as exc:  # a full disk: wait for a server, as with a full spool
            if not self._spool_failed:
                _log.warning("the spool could not be written: %s", exc.strerror)
            self._spool_failed = True

    def _spill(self) -> None:
        lines = self._lines
        self.spool.append(lines[0].first_seq, lines[-1].seq, b"".join(line.data for line in lines))
        lines.clear()
        self._bytes = self._taken = 0

    def _take_block(self) -> bytes:
        first_seq, data = self.spool.read(self._blocks_taken)
        self._blocks_taken += 1
        if first_seq > self.acked_seq:
            return data
        lines = data.removesuffix(b"\n").split(b"\n")
        return b"".join(line + b"\n" for line in lines if _seq_of(line) > self.acked_seq)

    def _take_lines(self) -> bytes:
        self._seal()
        self._wrote_at = trio.current_time()
        for event in self._newest.values():
            self.head_seq += 1
            line = encode_reported(self.head_seq, self.head_seq, event)
            self._keep(_Line(self.head_seq, self.head_seq, line))
        self._newest.clear()
        batch: list[bytes] = []
        size = 0
        while self._taken < len(self._lines) and size < BATCH_BYTES:
            data = self._lines[self._taken].data
            if batch and size + len(data) > BATCH_BYTES:
                break
            batch.append(data)
            size += len(data)
            self._taken += 1
        return b"".join(batch)


def _seq_of(line: bytes) -> float:
    """Return the number of a spooled line; a practice line that is none counts as new."""
    try:
        return int(orjson.loads(line)["seq"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return float("inf")
