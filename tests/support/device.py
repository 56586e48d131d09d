"""A device that knows the outside contract only: version 3 over the `websockets` library's own protocol code.

It shares no line with the server or the terminal client. Every event that comes in is held against the
promise of no gap: its frame covers the next position of its session. A violation ends the test at once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import attrs
import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from storage.aliases import is_app_session

__all__ = ["Closed", "Device", "Json", "Match", "Refused", "open_device"]

Json = dict[str, Any]
Match = str | Callable[[Json], bool]
"""A frame's type, or what is asked of it."""

LIMIT_S = 40.0
"""How long a test waits for what must come."""

MAX_FRAME_BYTES = 512 * 1024
"""No frame of the server is longer."""

TURN_ENDS = ("complete", "error", "interrupted")


class Closed(Exception):
    """The connection ended while something was waited for; `code` is the close code, None without a close
    frame.
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"closed: {code} {reason}")
        self.code = code


class Refused(AssertionError):
    """An attach was refused; `answer` is the server's frame."""

    def __init__(self, answer: Json) -> None:
        super().__init__(str(answer))
        self.answer = answer


@attrs.define(eq=False)
class Device:
    """One connection. Made by `open_device` only.

    Attributes:
        frames: all that came, in order.
        times: when each of them came, on trio's clock.
        positions: by session, the last event.
        close_code: once the connection has ended.
        ready: the server's first word.
        pongs: what the server answered to pings of the WebSocket itself.
    """

    frames: list[Json] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list, repr=False)
    positions: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    close_code: int | None = None
    ready: Json = attrs.field(factory=dict)
    pongs: list[bytes] = attrs.field(factory=list)
    _stream: trio.abc.Stream = attrs.field(default=None, repr=False)
    _protocol: ClientProtocol = attrs.field(default=None, repr=False)
    _cursor: int = 0
    _arrived: trio.Event = attrs.field(factory=trio.Event)
    _ended: bool = False
    _afters: dict[str, Json | None] = attrs.field(factory=dict)
    _may_read: trio.Event = attrs.field(factory=trio.Event)
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def subprotocol(self) -> str | None:
        """What the server chose."""
        return self._protocol.subprotocol

    # ---- what a test says ----

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a frame."""
        await self.say_raw(json.dumps({"type": kind} | fields))

    async def say_raw(self, text: str) -> None:
        """Send a text frame, whatever is in it."""
        self._protocol.send_text(text.encode("utf-8", "surrogatepass"))
        await self._flush()

    async def say_frame(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> None:
        """Send a WebSocket frame of any kind."""
        send = {
            Opcode.TEXT: partial(self._protocol.send_text, data, fin),
            Opcode.BINARY: partial(self._protocol.send_binary, data, fin),
            Opcode.CONT: partial(self._protocol.send_continuation, data, fin),
            Opcode.PING: partial(self._protocol.send_ping, data),
        }
        send[opcode]()
        await self._flush()

    async def attach(self, session_id: str, *, agent: str | None = None, **fields: Any) -> Json:
        """Attach; return the server's answer, which names an id of the iOS app by its alias. Raises Refused."""
        self._afters[session_id] = fields.get("after")
        asked = {"session_id": session_id, **({"agent": agent} if agent else {}), **fields}
        start = len(self.frames)
        await self.say("attach", **asked)
        answer = await self.wait_for(
            lambda frame: (
                frame["type"] in {"attached", "error", "rejected"}
                and (frame.get("session_id", session_id) == session_id or is_app_session(session_id))
                and "seq" not in frame
            ),
            start=start,
        )
        if answer["type"] != "attached":
            raise Refused(answer)
        return answer

    async def send(
        self, session_id: str, content: str, *, message_id: str | None = None, **fields: Any
    ) -> Json:
        """Send a message; return `accepted` or `rejected`."""
        message_id = message_id or uuid4().hex
        start = len(self.frames)
        await self.say("send", session_id=session_id, message_id=message_id, content=content, **fields)
        return await self.wait_for(
            lambda frame: frame["type"] in {"accepted", "rejected"} and frame.get("message_id") == message_id,
            start=start,
        )

    async def ask(self, session_id: str, content: str) -> Json:
        """Send a message and return the last event of its turn."""
        accepted = await self.send(session_id, content)
        assert accepted["type"] == "accepted", accepted
        said = await self.wait_for(
            lambda frame: frame["type"] == "user_message" and frame["message_id"] == accepted["message_id"],
            start=0,
        )
        return await self.wait_for(
            lambda frame: frame["type"] in TURN_ENDS and frame.get("turn_id") == said["turn_id"], start=0
        )

    # ---- what a test hears ----

    async def wait_for(
        self, match: Match, *, start: int | None = None, limit_s: float = LIMIT_S, **fields: Any
    ) -> Json:
        """Return the next frame that matches, waiting for it; later calls look behind it.

        Args:
            match: a type, or a question.
            start: look from this index of `frames` on, instead of behind the last match.
            limit_s: how long.
            fields: values that the frame must have.

        Raises:
            Closed: the connection ended first.
            trio.TooSlowError: nothing came in time.
        """
        index = self._cursor if start is None else start
        with trio.fail_after(limit_s):
            while True:
                while index < len(self.frames):
                    frame = self.frames[index]
                    index += 1
                    if _matches(frame, match, fields):
                        self._cursor = max(self._cursor, index)
                        return frame
                if self._ended:
                    raise Closed(self.close_code, self._protocol.close_reason or "")
                await self._arrived.wait()

    async def wait_closed(self, limit_s: float = LIMIT_S) -> int | None:
        """Wait for the connection's end; return the close code."""
        with trio.fail_after(limit_s):  # noqa: ASYNC912 - waits, or has it
            while not self._ended:
                await self._arrived.wait()
        return self.close_code

    def events(self, session_id: str, kind: str | None = None) -> list[Json]:
        """Return the events of a session that have come, in order."""
        return [
            frame
            for frame in self.frames
            if _is_event(frame) and frame["session_id"] == session_id and kind in (None, frame["type"])
        ]

    def text(self, session_id: str, turn_id: str) -> str:
        """Return the answer of a turn, as a client that keeps `text[:offset] + content` has it."""
        blocks: dict[str, str] = {}
        for frame in self.events(session_id, "message"):
            if frame["turn_id"] == turn_id:
                block = frame["block"]
                blocks[block] = blocks.get(block, "")[: frame["offset"]] + frame["content"]
        return "".join(blocks.values())

    def after(self, session_id: str) -> Json:
        """Return the position, as `attach` takes it."""
        epoch, seq = self.positions[session_id]
        return {"epoch": epoch, "seq": seq}

    def forget(self) -> None:
        """Drop all frames that came; the positions stay."""
        self.frames.clear()
        self.times.clear()
        self._cursor = 0

    # ---- the connection ----

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until the connection ends. Started once the handshake is over."""
        await self._flush()
        partials: dict[str, bytes] = defaultdict(bytes)
        try:
            while True:
                data = await self._read()
                self._protocol.receive_data(data) if data else self._protocol.receive_eof()
                for event in self._protocol.events_received():
                    if isinstance(event, Response):
                        task_status.started()
                    elif isinstance(event, Frame):
                        self._take(event, partials)
                if self._protocol.handshake_exc is not None:
                    raise self._protocol.handshake_exc
                await self._flush()
                if not data:
                    return
        finally:
            self._ended = True
            self.close_code = self._protocol.close_rcvd.code if self._protocol.close_rcvd else None
            self._wake()

    async def aclose(self) -> None:
        """Say goodbye; the server's answer is not waited for."""
        with trio.move_on_after(1.0):  # noqa: ASYNC912 - waits, or has it
            if self._protocol.state.name == "OPEN":
                self._protocol.send_close(1000)
                await self._flush()

    async def drop(self) -> None:
        """Cut the connection without a word, as a device that lost its network."""
        await trio.aclose_forcefully(self._stream)

    def stop_reading(self) -> None:
        """Take nothing more from the socket, as a device that was put to sleep."""
        self._may_read = trio.Event()

    def read_on(self) -> None:
        """Take it again."""
        self._may_read.set()

    async def _read(self) -> bytes:
        await self._may_read.wait()
        try:
            return bytes(await self._stream.receive_some(65536))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _flush(self) -> None:
        async with self._sending:  # the test's words and the answers to pings are of two tasks
            for data in self._protocol.data_to_send():
                try:
                    if data:
                        await self._stream.send_all(data)
                    else:
                        await self._stream.aclose()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

    def _take(self, event: Frame, partials: dict[str, bytes]) -> None:
        if event.opcode is Opcode.PONG:
            self.pongs.append(bytes(event.data))
            return
        if event.opcode in (Opcode.CLOSE, Opcode.PING):
            return
        assert event.opcode in (Opcode.TEXT, Opcode.CONT), f"the server sent a {event.opcode!r} frame"
        partials["text"] += bytes(event.data)
        if event.fin:
            self._hear(json.loads(partials.pop("text").decode()))

    def _hear(self, frame: Json) -> None:
        for name in ("type", "content", "timestamp"):
            assert isinstance(frame.get(name), str), f"{name} is no string in {frame}"
        self._check_position(frame)
        self.frames.append(frame)
        self.times.append(trio.current_time())
        self._wake()

    def _check_position(self, frame: Json) -> None:
        session_id = frame.get("session_id", "")
        if frame["type"] == "attached":
            after = self._afters.get(session_id)
            seq = after["seq"] if frame["replay"] == "ok" and after else frame["from_seq"] - 1
            self.positions[session_id] = (frame["epoch"], seq)
        elif _is_event(frame):
            epoch, seq = self.positions[session_id]
            first: int = frame["first_seq"] if "first_seq" in frame else frame["seq"]
            assert frame["epoch"] == epoch, f"epoch {epoch} became {frame['epoch']} without an attach"
            assert first <= seq + 1 <= frame["seq"], f"{first}-{frame['seq']} does not follow {seq}"
            self.positions[session_id] = (epoch, frame["seq"])

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()


def _is_event(frame: Mapping[str, Any]) -> bool:
    return "seq" in frame and "epoch" in frame


def _matches(frame: Json, match: Match, fields: Mapping[str, Any]) -> bool:
    if isinstance(match, str):
        if frame["type"] != match:
            return False
    elif not match(frame):
        return False
    return all(frame.get(name) == value for name, value in fields.items())


@asynccontextmanager
async def open_device(
    url: str,
    key: str | None,
    *,
    path: str = "/api/ws",
    subprotocol: str | None = None,
    frame_key: bool = False,
    wait_ready: bool = True,
) -> AsyncIterator[Device]:
    """Connect, sign in and wait for `ready`; say goodbye on leaving.

    Args:
        url: the server's address, `http://HOST:PORT`.
        key: None connects without one and does not wait for `ready`.
        path, subprotocol: where to, as what.
        frame_key: bring the key in the first frame instead of a header.
        wait_ready: without it the test looks itself at what the server says to the key.
    """
    parts = urlsplit(url)
    protocol = ClientProtocol(
        parse_uri(f"ws://{parts.netloc}{path}"),
        subprotocols=[subprotocol] if subprotocol else None,  # type: ignore[list-item]
        max_size=MAX_FRAME_BYTES,
    )
    request = protocol.connect()
    if key is not None and not frame_key:
        request.headers["X-API-Key"] = key
    protocol.send_request(request)
    stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
    device = Device(stream=stream, protocol=protocol)
    device.read_on()
    async with stream, trio.open_nursery() as nursery:
        await nursery.start(device.run)
        if frame_key:
            await device.say("auth", token=key)
        if key is not None and wait_ready:
            device.ready = await device.wait_for("ready")
        try:
            yield device
        finally:
            with trio.CancelScope(shield=True):
                await device.aclose()  # bounded inside
            nursery.cancel_scope.cancel(reason="the test leaves")
