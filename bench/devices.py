"""Three devices in a process of their own that time what reaches them; the same code for both chains.

Jobs come as JSON lines on stdin. For each it connects the three, prints `ready`, waits for a line, lets the first
device send the job's message where there is one, and prints what was seen as a line of JSON. During a run a
frame is only stamped and kept; it is parsed afterwards, so that parsing delays no later stamp.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import cattrs
import orjson
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from bench.errors import BenchError, one_line
from bench.figures import percentile
from bench.frames import Kind, Outcome, Received, evaluate, may_end, parse_frame

__all__ = [
    "DEVICES",
    "Job",
    "Seen",
    "attach",
    "join_session",
    "now_us",
    "open_device",
    "read_run",
    "say",
    "send",
]

DEVICES = 3

_MAX_FRAME_BYTES = 64 * 1024 * 1024
_READ_BYTES = 65536


@attrs.frozen
class Job:
    """One run.

    Attributes:
        port: of the chain, on loopback.
        kind: how its pieces are counted.
        expected: how many pieces each device must get.
        limit_s: the run is given up after this.
        key: signs in at our server; None is the yardstick, which knows no sign-in and sends on its own.
        session_id: attached to, and made where it is new, with the agent `echo`.
        message: what the first device sends.
    """

    port: int
    kind: Kind
    expected: int
    limit_s: float
    key: str | None = attrs.field(default=None, repr=False)
    session_id: str = ""
    message: str = ""


@attrs.frozen
class Seen:
    """What the three saw of a run.

    Attributes:
        p50_us: of the latencies of all pieces at all devices; 0 where the pieces are not clock words.
        p99_us: likewise.
        rate: pieces a second at the slowest device; 0 where everything came in one frame.
        frames: frames with pieces at the device that got most.
        whole_us: from the go to the last piece at the last device.
    """

    p50_us: float
    p99_us: float
    rate: float
    frames: int
    whole_us: int


def now_us() -> int:
    """Return the clock that `/clock` and the producer send: CLOCK_MONOTONIC in microseconds."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@asynccontextmanager
async def open_device(url: str) -> AsyncIterator[WebSocketConnection]:
    """Connect; the connection is closed at the end of the block."""
    opened = open_websocket_url(
        url, message_queue_size=64, max_message_size=_MAX_FRAME_BYTES, receive_buffer_size=_READ_BYTES
    )
    async with opened as device:
        yield device


async def join_session(
    device: WebSocketConnection, key: str, session_id: str, label: str, agent: str = "echo"
) -> None:
    """Sign in at our server and attach to a session of `agent`, which is made where it is new.

    Raises:
        BenchError: the server refused.
    """
    await say(device, {"type": "auth", "token": key})
    await _await_type(device, "ready")
    await attach(device, session_id, label, agent)


async def attach(device: WebSocketConnection, session_id: str, label: str, agent: str = "echo") -> None:
    """Attach a connection that has signed in to one more session. Raises BenchError where it is refused."""
    frame = {"type": "attach", "session_id": session_id, "agent": agent, "device_id": label, "history": 0}
    await say(device, frame)
    await _await_type(device, "attached")


async def send(device: WebSocketConnection, session_id: str, content: str) -> None:
    """Send a user message with a fresh id."""
    message_id = uuid.uuid4().hex
    frame = {"type": "send", "session_id": session_id, "message_id": message_id, "content": content}
    await say(device, frame)


async def say(device: WebSocketConnection, frame: dict[str, Any]) -> None:
    """Send one frame of JSON."""
    await device.send_message(orjson.dumps(frame).decode())


async def _await_type(device: WebSocketConnection, wanted: str) -> None:
    while True:
        frame = parse_frame(await read_text(device))
        if frame["type"] == wanted:
            return
        if frame["type"] in {"error", "rejected"}:
            raise BenchError(f"the server refused: {frame.get('code')}")


async def read_text(device: WebSocketConnection) -> str:
    """Return the next frame. Raises BenchError where it is binary or the connection ended."""
    try:
        frame = await device.get_message()
    except ConnectionClosed as closed:
        raise BenchError(f"the connection was closed: {closed.reason}") from closed
    if isinstance(frame, bytes):
        raise BenchError("a device got a binary frame")
    return frame


async def read_run(device: WebSocketConnection) -> list[Received]:
    """Stamp and keep frames up to the end of the run. Raises BenchError where it broke."""
    frames: list[Received] = []
    while True:
        text = await read_text(device)
        at_us = now_us()
        frames.append(Received(at_us, text))
        if may_end(text):
            return frames


async def _run(job: Job) -> Seen:
    async def follow(device: WebSocketConnection) -> None:
        kept[device] = await read_run(device)

    kept: dict[WebSocketConnection, list[Received]] = {}
    path = "/" if job.key is None else "/api/ws"
    async with AsyncExitStack() as stack:
        devices = []
        for number in range(DEVICES):
            device = await stack.enter_async_context(open_device(f"ws://127.0.0.1:{job.port}{path}"))
            devices.append(device)
            if job.key is not None:
                await join_session(device, job.key, job.session_id, f"bench-{number}")
        _answer(b"ready")
        await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        go_us = now_us()
        async with trio.open_nursery() as nursery:
            for device in devices:
                nursery.start_soon(follow, device)
            if job.key is not None:
                await send(devices[0], job.session_id, job.message)
    outcomes = [evaluate(frames, job.kind, job.expected) for frames in kept.values()]
    return _seen(outcomes, go_us)


def _seen(outcomes: list[Outcome], go_us: int) -> Seen:
    latencies = [latency for outcome in outcomes for latency in outcome.latencies_us]
    spans = all(outcome.last_us > outcome.first_us for outcome in outcomes)
    return Seen(
        p50_us=percentile(latencies, 0.5) if latencies else 0.0,
        p99_us=percentile(latencies, 0.99) if latencies else 0.0,
        rate=min(outcome.rate for outcome in outcomes) if spans else 0.0,
        frames=max(outcome.frames for outcome in outcomes),
        whole_us=max(outcome.last_us for outcome in outcomes) - go_us,
    )


async def _run_bounded(job: Job) -> Seen:
    try:
        with trio.fail_after(job.limit_s):
            return await _run(job)
    except trio.TooSlowError:
        raise BenchError(f"the run was not done after {job.limit_s:g} s") from None


def _answer(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Do jobs until stdin ends or one breaks."""
    for line in iter(sys.stdin.readline, ""):
        job = cattrs.structure(orjson.loads(line), Job)
        try:
            seen = trio.run(_run_bounded, job)
        except Exception as error:  # whatever broke the run is printed in one line, and ends this process
            sys.stderr.write(one_line(error) + "\n")
            return 1
        _answer(orjson.dumps(attrs.asdict(seen)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
