"""What the stand-ins for model services share: HTTP/1.1 on loopback, a script of replies, a record of requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import attrs
import h11
import orjson
import trio

from tests.standin.replies import Reply

__all__ = ["MAX_BODY_BYTES", "Call", "Script", "Wire", "listen"]

S = TypeVar("S")

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A request's body over this is refused; the programs send whole conversations."""


@attrs.frozen
class Call:
    """One HTTP request with its whole body. `path` is the target less its query."""

    method: str
    target: str
    path: str
    headers: dict[str, str]
    body: bytes


@attrs.define(eq=False)
class Script(Generic[S]):
    """Which request gets which reply.

    Attributes:
        fallback: what answers a request that no script is for.
        requests: those that ask for an answer, oldest first.
    """

    fallback: Callable[[S], Reply]
    requests: list[S] = attrs.field(factory=list)
    _script: list[tuple[Callable[[S], bool], Reply]] = attrs.field(factory=list)
    _news: trio.Event = attrs.field(factory=trio.Event)

    def script(self, *replies: Reply, when: Callable[[S], bool] = lambda seen: True) -> None:
        """Answer the next requests by these, each once, in order; `when` picks the requests."""
        self._script.extend((when, reply) for reply in replies)

    def forget_script(self) -> None:
        """Drop what no request has taken."""
        self._script.clear()

    async def request(self, number: int) -> S:
        """Wait until that many requests (from 1) have come; return that one."""
        await trio.lowlevel.checkpoint()
        while len(self.requests) < number:
            await self._news.wait()
        return self.requests[number - 1]

    def choose(self, seen: S) -> Reply:
        """Note a request and choose its reply."""
        self.requests.append(seen)
        self._news.set()
        self._news = trio.Event()
        for index, (when, reply) in enumerate(self._script):
            if when(seen):
                del self._script[index]
                return reply
        return self.fallback(seen)


@attrs.define(eq=False)
class Wire:
    """One connection: h11 over a stream."""

    stream: trio.SocketStream
    state: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.SERVER))

    async def next_event(self) -> Any:
        """Return the peer's next event, waiting for it."""
        await trio.lowlevel.checkpoint()
        while True:
            event = self.state.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.state.receive_data(await self.stream.receive_some())

    async def send(self, event: Any) -> None:
        """Send an event of ours."""
        data = self.state.send(event)
        if data:
            await self.stream.send_all(data)
        else:
            await trio.lowlevel.checkpoint()

    async def respond(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        """Send a whole JSON response."""
        head = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
        await self.send(h11.Response(status_code=status, headers=head))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def stream_events(self, events: Iterable[dict[str, Any] | trio.Event]) -> None:
        """Stream server-sent events, each named by its `type`; wait for gates between them."""
        head = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
        await self.send(h11.Response(status_code=200, headers=head))
        for event in events:
            if isinstance(event, trio.Event):
                await event.wait()
            else:
                line = b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
                await self.send(h11.Data(data=line))


@asynccontextmanager
async def listen(port: int, answer: Callable[[Wire, Call], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve on loopback while inside the block; open connections are cut at its end. Yields the URL."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        await nursery.start(partial(trio.serve_listeners, partial(_serve_connection, answer), listeners))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel(reason="the stand-in's block is over")


async def _serve_connection(
    answer: Callable[[Wire, Call], Awaitable[None]], stream: trio.SocketStream
) -> None:
    """Serve one connection to its end; a peer that breaks off or sends nonsense ends only its own."""
    wire = Wire(stream)
    try:
        while True:
            request = await wire.next_event()
            if not isinstance(request, h11.Request):
                return
            call = await _read_call(wire, request)
            if call is None:
                await wire.respond(413, b'{"error":{"message":"too large"}}', ("connection", "close"))
                return
            await answer(wire, call)
            if wire.state.our_state is not h11.DONE or wire.state.their_state is not h11.DONE:
                return
            wire.state.start_next_cycle()
    except (trio.BrokenResourceError, h11.ProtocolError):
        await trio.lowlevel.checkpoint()
    finally:
        await trio.aclose_forcefully(stream)


async def _read_call(wire: Wire, request: h11.Request) -> Call | None:
    """Return the whole request, None if its body is too large."""
    await trio.lowlevel.checkpoint()
    body = bytearray()
    while isinstance(event := await wire.next_event(), h11.Data):
        body += event.data
        if len(body) > MAX_BODY_BYTES:
            return None
    target = request.target.decode()
    headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
    return Call(request.method.decode(), target, target.partition("?")[0], headers, bytes(body))
