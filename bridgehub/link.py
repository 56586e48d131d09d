"""The hub's end of the link: who may connect, and what goes over it.

One server holds the hub at a time. A `Hello` with an older owner epoch than the newest that was ever welcome
is refused (`fenced`): that server has lost the session. One with the same or a newer epoch displaces the link
that is there, so a server that lost its connection need not wait for the hub to notice. Bytes that are not a
message close their link and do nothing else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Protocol

import attrs
import trio

from bridgehub.outbox import MAX_GATHER_S, Outbox
from bridgehub.protocol.codec import MAX_LINE_BYTES, LineBuffer, decode_to_hub, encode
from bridgehub.protocol.errors import LinkError, unwrap
from bridgehub.protocol.messages import VERSION, Ack, Detach, Hello, Refused, ToHub, Welcome

__all__ = ["HubSide", "LinkServer"]

_log = logging.getLogger("builderos.bridgehub")

HELLO_S = 5.0
"""How long a connection may take to say `Hello`."""

HELLO_BYTES = 64 * 1024
"""Bytes of a `Hello`'s line: a session's id is the longest thing in it."""

STRANGERS = 16
"""Connections that may wait for their `Hello` at once; further ones are closed."""

RECEIVE_BYTES = 64 * 1024


class HubSide(Protocol):
    """What a link needs of the hub."""

    def welcome(self) -> Welcome:
        """Return the answer to a `Hello`."""
        ...

    def take_nowait(self, message: ToHub) -> None:
        """Take a message of the server. Raises whatever means that the server is not in its right mind."""
        ...


def _write_nowait(stream: trio.SocketStream, data: bytes) -> int:
    """Write what a socket takes at once. What is wrong with it the next write finds, which waits."""
    try:
        return os.write(stream.socket.fileno(), data)
    except OSError:
        return 0


@attrs.define(eq=False)
class _Link:
    stream: trio.SocketStream
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class LinkServer:
    """Accepts links for one hub.

    Attributes:
        write_nowait: writes to a link what it takes at once, and returns how many bytes that was. Must not raise.
    """

    session_id: str
    hub: HubSide
    outbox: Outbox
    on_change: Callable[[], None]
    write_nowait: Callable[[trio.SocketStream, bytes], int] = _write_nowait
    owner_epoch: int = 0
    detached_at: float = 0.0
    _link: _Link | None = None
    _strangers: int = 0

    @property
    def attached(self) -> bool:
        """Whether a server is there."""
        return self._link is not None

    async def serve(self, listener: trio.SocketListener) -> None:
        """Accept links until cancelled."""
        await trio.serve_listeners(self._serve_one, [listener])

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        """Serve one connection; its trouble stays its own."""
        try:
            if self._strangers < STRANGERS:
                await self._greet(stream)
        except* (LinkError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as group:
            _log.info("a link ended: %r", unwrap(group))
        except* Exception:
            _log.exception("a link failed")
        finally:
            with trio.CancelScope(shield=True):  # gives up nothing: closing a socket forcefully does not wait
                await trio.aclose_forcefully(stream)

    async def _greet(self, stream: trio.SocketStream) -> None:
        lines = LineBuffer(HELLO_BYTES)
        self._strangers += 1
        try:
            with trio.fail_after(HELLO_S):
                first = await _read_lines(stream, lines)
                hello = decode_to_hub(first[0])
        finally:
            self._strangers -= 1
        lines.limit = MAX_LINE_BYTES
        if not isinstance(hello, Hello):
            raise LinkError("unknown_type", ".type")
        refusal = self._refusal(hello)
        if refusal is not None:
            with trio.move_on_after(HELLO_S):
                await stream.send_all(encode(refusal))
            return
        self.owner_epoch = hello.owner_epoch
        link = _Link(stream)
        displaced, self._link = self._link, link
        try:
            if displaced is not None:
                displaced.scope.cancel(reason="displaced")
                await displaced.over.wait()
            with link.scope:
                await self._run_link(link, lines, hello.last_seq, first[1:])
        finally:
            self._forget(link)

    def _refusal(self, hello: Hello) -> Refused | None:
        if hello.version != VERSION:
            return Refused("version", f"this hub speaks version {VERSION} of the link")
        if hello.session_id != self.session_id:
            return Refused("session", "this hub serves another session")
        if hello.owner_epoch < self.owner_epoch:
            return Refused("fenced", f"owner epoch {self.owner_epoch} holds this hub")
        return None

    def _forget(self, link: _Link) -> None:
        link.over.set()
        if self._link is link:
            self._link = None
            self.detached_at = trio.current_time()
            self.outbox.detach()
            self.on_change()

    async def _run_link(self, link: _Link, lines: LineBuffer, last_seq: int, early: list[bytes]) -> None:
        self.outbox.attach(last_seq, partial(self.write_nowait, link.stream))
        self.on_change()
        await link.stream.send_all(encode(self.hub.welcome()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, link.stream)
            while all(map(self._take, early)):
                early = await _read_lines(link.stream, lines)
            nursery.cancel_scope.cancel(reason="detached")

    async def _send(self, stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(await self.outbox.take())

    def _take(self, line: bytes) -> bool:
        """Act on a line; False if it ends the link."""
        try:
            message = decode_to_hub(line)
        except LinkError as exc:
            if exc.code == "unknown_type":  # a newer server: what we do not know we cannot do
                _log.warning("a message of an unknown type was ignored")
                return True
            raise
        if isinstance(message, Hello):
            raise LinkError("unknown_type", ".type")
        if isinstance(message, Detach):
            return False
        if isinstance(message, Ack):
            self.outbox.ack(message.seq)
            self.outbox.gather_s = min(message.gather_ms / 1000, MAX_GATHER_S)
        else:
            self.hub.take_nowait(message)
        return True


async def _read_lines(stream: trio.SocketStream, lines: LineBuffer) -> list[bytes]:
    """Wait for lines, at least one. Raises BrokenResourceError at the end of the stream."""
    while True:
        data = await stream.receive_some(RECEIVE_BYTES)
        if not data:
            raise trio.BrokenResourceError("the server closed the link")
        if found := lines.feed(data):
            return found
