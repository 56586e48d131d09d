"""One WebSocket of the app over any stream, by the `websockets` library's own protocol code."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

__all__ = ["KEY", "LIMIT_S", "Line", "Refused", "chat", "open_line"]

LIMIT_S = 40.0
"""How long anything in a test may take before it has failed."""

KEY = "key-of-phone"


class Refused(Exception):
    """The upgrade was answered with another status."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


def chat(content: str, session_id: str | None = None, device_id: str | None = None, **more: Any) -> str:
    """Return what the app sends for a message."""
    ids = {"session_id": session_id, "device_id": device_id}
    return json.dumps({"content": content, **{k: v for k, v in ids.items() if v is not None}, **more})


@attrs.define(eq=False)
class Line:
    """One connection. Made by `open_line` only.

    Attributes:
        texts: all that came, with the time of its coming.
        hear: called with each text.
        code: the close code, once it is over; None without a close frame.
    """

    stream: trio.abc.Stream
    protocol: ClientProtocol
    texts: list[tuple[float, str]] = attrs.field(factory=list)
    hear: Callable[[str], None] | None = None
    pongs: int = 0
    ended: bool = False
    code: int | None = None
    answers_pings: bool = True
    _cursor: int = 0
    _sending: trio.Lock = attrs.field(factory=trio.Lock)
    _news: trio.Event = attrs.field(factory=trio.Event)

    async def say(self, text: str) -> None:
        """Send a text frame."""
        self.protocol.send_text(text.encode())
        await self._flush()

    async def say_bytes(self, data: bytes) -> None:
        """Send a binary frame."""
        self.protocol.send_binary(data)
        await self._flush()

    async def ping(self) -> None:
        """Send a ping."""
        self.protocol.send_ping(b"app")
        await self._flush()

    async def text(self) -> str:
        """Return the next text."""
        while self._cursor == len(self.texts):
            assert not self.ended, f"closed with {self.code}"
            await self._wait()
        self._cursor += 1
        return self.texts[self._cursor - 1][1]

    async def frame(self, *kinds: str) -> dict[str, Any]:
        """Return the next JSON frame of these kinds, any without them; others are dropped."""
        while True:
            text = await self.text()
            if not text.startswith("{"):
                continue
            frame: dict[str, Any] = json.loads(text)
            for name in ("type", "content", "timestamp"):
                assert isinstance(frame[name], str), frame
            if not kinds or frame["type"] in kinds:
                return frame

    async def exchange(self) -> tuple[str, dict[str, Any]]:
        """Return the text of the next own answer and the frame that ended it."""
        parts: list[str] = []
        while True:
            frame = await self.frame("message", "complete", "error")
            if frame["type"] != "message":
                return "".join(parts), frame
            parts.append(frame["content"])

    async def sign_in(self, key: str = KEY) -> None:
        """Say the key and wait for `ready`."""
        await self.say(key)
        assert await self.text() == "authenticated"
        await self.frame("ready")

    def rest(self) -> list[str]:
        """Return what came and was not looked at."""
        found = [text for _, text in self.texts[self._cursor :]]
        self._cursor = len(self.texts)
        return found

    async def closed(self) -> int | None:
        """Wait for the end; return the close code."""
        while not self.ended:
            await self._wait()
        return self.code

    async def drop(self) -> None:
        """Cut the connection without a word."""
        await trio.aclose_forcefully(self.stream)

    async def close(self) -> None:
        """Say good-bye and wait for the answer."""
        if self.protocol.state.name == "OPEN":
            self.protocol.send_close(1000)
            await self._flush()
        await self.closed()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read to the end."""
        await self._flush()
        try:
            while True:
                await trio.lowlevel.checkpoint()
                try:
                    data = await self.stream.receive_some(65536)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
                if data:
                    self.protocol.receive_data(bytes(data))
                else:
                    self.protocol.receive_eof()
                for event in self.protocol.events_received():
                    if isinstance(event, Response):
                        if event.status_code != 101:
                            raise Refused(event.status_code)
                        task_status.started()
                    elif isinstance(event, Frame):
                        self._take(event)
                if self.answers_pings:
                    await self._flush()
                if not data:
                    return
        finally:
            self.ended = True
            self.code = self.protocol.close_rcvd.code if self.protocol.close_rcvd else None
            self._wake()

    def _take(self, event: Frame) -> None:
        if event.opcode is Opcode.PONG:
            self.pongs += 1
        elif event.opcode is Opcode.TEXT:
            assert event.fin
            text = bytes(event.data).decode()
            self.texts.append((trio.current_time(), text))
            if self.hear is not None:
                self.hear(text)
        self._wake()

    async def _flush(self) -> None:
        async with self._sending:
            for data in self.protocol.data_to_send():
                try:
                    if data:
                        await self.stream.send_all(data)
                    else:
                        await self.stream.aclose()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _wait(self) -> None:
        await self._news.wait()


@asynccontextmanager
async def open_line(stream: trio.abc.Stream, path: str, *, forwarded_for: str = "") -> AsyncIterator[Line]:
    """Upgrade `stream` inside the block, as a proxy would for that address if one is given; cut it at the end.

    Raises:
        Refused: the server answered otherwise.
    """
    protocol = ClientProtocol(parse_uri(f"ws://phone{path}"), max_size=None)
    request = protocol.connect()
    if forwarded_for:
        request.headers["X-Forwarded-For"] = forwarded_for
    protocol.send_request(request)
    line = Line(stream, protocol)
    async with trio.open_nursery() as nursery:
        await nursery.start(line.run)
        try:
            yield line
        finally:
            # Before the cancel: a Cancelled from here would hide what went wrong in the block.
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()
