"""A device for each of many sessions, in one process; the same code for both chains.

It speaks just enough of WebSockets over plain sockets, since a library would take a share of the cores that the chains
need. Jobs come as JSON lines on stdin. For each it connects all devices and prints `ready`. At the next line all send
their messages, if they have any, and what comes is stamped and kept. The line after it is the window `FROM TO` of
which the outcome is wanted. That is printed as JSON.
"""

from __future__ import annotations

import base64
import os
import selectors
import socket
import sys
import time
from collections.abc import Sequence

import attrs
import cattrs
import orjson

from bench.devices import now_us
from bench.errors import BenchError, one_line
from bench.figures import percentile
from bench.frames import Outcome, Received, evaluate, may_end, parse_frame
from bench.many.pace import Pace, paces

__all__ = ["CrowdJob", "CrowdSeen", "FrameReader", "Wire"]

_READ_BYTES = 65536
_LIMIT_S = 20.0
_SMALL = 126
_TEXT = 1


@attrs.frozen
class CrowdJob:
    """One run of many sessions.

    Attributes:
        port: of the chain, on loopback.
        sessions: how many.
        seconds: how long each sends pieces.
        key: signs in at our server; None is the yardstick.
    """

    port: int
    sessions: int
    seconds: float
    key: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class CrowdSeen:
    """What the devices saw of the pieces that left in the window.

    Attributes:
        pieces: how many there were.
        frames: how many frames all the run's pieces came in, over how many pieces.
        p50_us: of their latencies.
        p95_us: likewise.
    """

    pieces: int
    frames: float
    p50_us: float
    p95_us: float


@attrs.define
class FrameReader:
    """Frames out of a stream of bytes, as a server writes them: whole and without a mask."""

    _held: bytes = b""

    def feed(self, data: bytes) -> list[str]:
        """Add `data`; return the texts of all frames that are whole now. Frames that are not text are left out."""
        held, found = self._held + data, []
        while len(held) >= 2:
            size, start = held[1], 2
            if size >= _SMALL:
                start = 4 if size == _SMALL else 10
                size = int.from_bytes(held[2:start], "big")
            if len(held) < start + size:
                break
            if held[0] & 0xF == _TEXT:
                found.append(held[start : start + size].decode())
            held = held[start + size :]
        self._held = held
        return found


class Wire:
    """A WebSocket client on a plain socket."""

    def __init__(self, port: int, path: str) -> None:
        """Connect and do the handshake. Raises BenchError if it is refused."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_LIMIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.chunks: list[tuple[int, bytes]] = []
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._receive()
        head, _, rest = head.partition(b"\r\n\r\n")
        self._frames = FrameReader()
        self._early = self._frames.feed(rest)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise BenchError("the chain refused a device")

    def say(self, **frame: object) -> None:
        """Send one frame of JSON."""
        text = orjson.dumps(frame)
        size = bytes((0x80 | len(text),)) if len(text) < _SMALL else b"\xfe" + len(text).to_bytes(2, "big")
        self.socket.sendall(b"\x81" + size + bytes(4) + text)

    def wait_for(self, kind: str) -> None:
        """Read until a frame of that type. Raises BenchError if the server refuses."""
        while True:
            while self._early:
                frame = parse_frame(self._early.pop(0))
                if frame["type"] == kind:
                    return
                if frame["type"] in {"error", "rejected"}:
                    raise BenchError(f"the server refused: {frame.get('code')}")
            self._early = self._frames.feed(self._receive())

    def keep(self) -> bool:
        """Stamp and keep what has come; return whether it may hold the end of the run."""
        data = self._receive()
        self.chunks.append((now_us(), data))
        return b'"complete"' in data or b'"error"' in data or b'"interrupted"' in data

    def received(self) -> list[Received]:
        """Return all frames that came whole since the run began."""
        found = [Received(at_us, text) for at_us, data in self.chunks for text in self._frames.feed(data)]
        for frame in found:
            may_end(frame.text)
        return found

    def _receive(self) -> bytes:
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise BenchError("a device's connection was closed")
        return data


def _connect(job: CrowdJob) -> list[Wire]:
    wires = []
    for number in range(job.sessions):
        if job.key is None:
            wires.append(Wire(job.port, f"/{number}"))
            continue
        wire = Wire(job.port, "/api/ws")
        wire.say(type="auth", token=job.key)
        wire.wait_for("ready")
        wire.say(type="attach", session_id=f"crowd-{number}", agent="echo", device_id="bench", history=0)
        wire.wait_for("attached")
        wires.append(wire)
    return wires


def _follow(job: CrowdJob, wires: Sequence[Wire], all_paces: Sequence[Pace]) -> None:
    """Send the messages at their moments, and keep what comes up to the end of all."""
    selector = selectors.DefaultSelector()
    for wire in wires:
        selector.register(wire.socket, selectors.EVENT_READ, wire)
    start = time.monotonic()
    waiting = sorted(range(len(wires)), key=lambda number: all_paces[number].offset_ms) if job.key else []
    left = set(wires)
    while left:
        passed = time.monotonic() - start
        if passed > job.seconds + _LIMIT_S:
            raise BenchError("the sessions did not come to their end")
        while waiting and all_paces[waiting[0]].offset_ms <= passed * 1000:
            number = waiting.pop(0)
            pace = all_paces[number]
            wires[number].say(
                type="send",
                session_id=f"crowd-{number}",
                message_id=os.urandom(16).hex(),
                content=f"/clock {pace.count} {pace.period_ms}",
            )
        wait = all_paces[waiting[0]].offset_ms / 1000 - passed if waiting else 1.0
        for key, _ in selector.select(max(0.0, wait)):
            if key.data.keep():
                left.discard(key.data)


def _seen(outcomes: Sequence[Outcome], first_us: int, last_us: int) -> CrowdSeen:
    latencies = [
        latency
        for outcome in outcomes
        for latency, left in zip(outcome.latencies_us, outcome.left_us, strict=True)
        if first_us <= left < last_us
    ]
    frames = sum(outcome.frames for outcome in outcomes) / sum(outcome.pieces for outcome in outcomes)
    return CrowdSeen(len(latencies), frames, percentile(latencies, 0.5), percentile(latencies, 0.95))


def _run(job: CrowdJob) -> CrowdSeen:
    all_paces = paces(job.sessions, job.seconds)
    wires = _connect(job)
    try:
        _answer(b"ready")
        sys.stdin.readline()
        _follow(job, wires, all_paces)
        _answer(b"over")
        first_us, last_us = map(int, sys.stdin.readline().split())
    finally:
        for wire in wires:
            wire.socket.close()
    runs = zip(wires, all_paces, strict=True)
    return _seen([evaluate(wire.received(), "clock", pace.count) for wire, pace in runs], first_us, last_us)


def _answer(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Do jobs until stdin ends or one breaks."""
    for line in iter(sys.stdin.readline, ""):
        try:
            seen = _run(cattrs.structure(orjson.loads(line), CrowdJob))
        except Exception as error:  # whatever broke the run is printed in one line, and ends this process
            sys.stderr.write(one_line(error) + "\n")
            return 1
        _answer(orjson.dumps(attrs.asdict(seen)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
