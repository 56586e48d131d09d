"""The server's end of the link to one hub."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from actors.errors import HubFenced, HubLost, HubProtocolError
from bridgehub.protocol.codec import LineBuffer, decode_from_hub, encode
from bridgehub.protocol.errors import LinkError
from bridgehub.protocol.messages import VERSION, Hello, Refused, Reported, ToHub, Welcome

__all__ = ["SocketHubLink", "open_link"]

RECEIVE_BYTES = 256 * 1024
"""Bytes of one read, so of one batch that becomes one append."""

RECEIVE_LINES = 128
"""Lines that one receive decodes: a read of many small ones would hold the event loop for milliseconds."""

CONNECT_S = 5.0
"""How long a hub may take to say `Welcome`: it may be importing its agent's package, which takes a second."""


async def receive_ready(stream: trio.SocketStream) -> bytes:
    """Wait for bytes and return them, b"" at the end. Raises OSError or ClosedResourceError if the link is broken.

    `SocketStream.receive_some` reads before it waits. At an answer's pace that first read finds nothing, and costs more
    than the wait.
    """
    while True:
        await trio.lowlevel.wait_readable(stream.socket)
        try:
            # The descriptor of now: it may be closed meanwhile.
            return os.read(stream.socket.fileno(), RECEIVE_BYTES)
        except BlockingIOError:
            continue


@attrs.define(eq=False)
class SocketHubLink:
    """Implements `actors.ports.HubLink`. One task sends at a time, one receives. Made by `open_link`."""

    welcome: Welcome
    _stream: trio.SocketStream
    _lines: LineBuffer
    _early: list[bytes]
    _receive: Callable[[trio.SocketStream], Awaitable[bytes]] = receive_ready
    _write_lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def send(self, message: ToHub) -> None:
        """Write one message. A cancelled send may have cut a line, so it closes the link.

        Raises:
            HubLost: the hub is gone, or the link is closed.
        """
        data = encode(message)
        try:
            self._write_lock.acquire_nowait()  # nearly always free: `send_all` has a checkpoint of its own
        except trio.WouldBlock:
            await self._write_lock.acquire()
        sent = False
        try:
            await self._stream.send_all(data)
            sent = True
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise HubLost("the link to the hub broke") from exc
        finally:
            self._write_lock.release()
            if not sent:
                self._stream.socket.close()

    async def receive(self) -> Sequence[Reported]:
        """Wait for events; return what has come whole, of at most `RECEIVE_LINES` lines, oldest first.

        What is left of a read comes with the next calls. A cancelled receive lost nothing.

        Raises:
            HubLost: the link ended.
            HubProtocolError: the hub broke the protocol. The link is closed. What came whole before the
                garbage was returned by earlier calls.
        """
        if self._early:
            await trio.lowlevel.checkpoint()
        else:
            self._early = await self._read()
        lines, self._early = self._early[:RECEIVE_LINES], self._early[RECEIVE_LINES:]
        events: list[Reported] = []
        for number, line in enumerate(lines):
            try:
                message = decode_from_hub(line)
            except LinkError as exc:
                if events:  # these first, the complaint with the next call
                    self._early = lines[number:] + self._early
                    break
                self._stream.socket.close()
                raise HubProtocolError(str(exc)) from exc
            if isinstance(message, Reported):
                events.append(message)
        return events

    async def aclose(self) -> None:
        """Close the link; the hub keeps running. Idempotent."""
        self._stream.socket.close()
        await trio.lowlevel.checkpoint()

    async def _read(self) -> list[bytes]:
        """Wait until at least one line has come whole."""
        while True:
            try:
                data = await self._receive(self._stream)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                self._stream.socket.close()
                raise HubLost("the link to the hub broke") from exc
            if not data:
                self._stream.socket.close()
                raise HubLost("the hub closed the link")
            try:
                lines = self._lines.feed(data)
            except LinkError as exc:
                self._stream.socket.close()
                raise HubProtocolError(str(exc)) from exc
            if lines:
                return lines


async def open_link(
    path: str,
    hello: Hello,
    *,
    hub_id: str | None = None,
    open_socket: Callable[[str], Awaitable[trio.SocketStream]] = trio.open_unix_socket,
    receive: Callable[[trio.SocketStream], Awaitable[bytes]] = receive_ready,
) -> SocketHubLink:
    """Connect to the hub that listens on `path`, within `CONNECT_S`. Cancelling it leaves nothing open.

    Raises:
        HubLost: nobody listens there, or no sensible answer came.
        HubFenced: a later owner holds the hub.
        HubProtocolError: the answer breaks the protocol, the hub refuses this version or session, or it is not `hub_id`.
    """
    try:
        with trio.fail_after(CONNECT_S):
            stream = await open_socket(os.fspath(path))
            try:
                return await _greet(stream, hello, hub_id, receive)
            except BaseException:
                stream.socket.close()
                raise
    except (OSError, trio.BrokenResourceError) as exc:
        raise HubLost("nobody answers on the hub's socket") from exc
    except trio.TooSlowError as exc:
        raise HubLost(f"the hub did not answer within {CONNECT_S:g} s") from exc
    except LinkError as exc:
        raise HubProtocolError(str(exc)) from exc


async def _greet(
    stream: trio.SocketStream,
    hello: Hello,
    hub_id: str | None,
    receive: Callable[[trio.SocketStream], Awaitable[bytes]],
) -> SocketHubLink:
    await stream.send_all(encode(hello))
    buffer = LineBuffer()
    lines: list[bytes] = []
    while not lines:
        data = await receive(stream)
        if not data:
            raise HubLost("the hub closed the link")
        lines = buffer.feed(data)
    answer = decode_from_hub(lines[0])
    if isinstance(answer, Refused):
        if answer.reason == "fenced":
            raise HubFenced(answer.content)
        # It is not ours, or of another time, and will be the next time too.
        raise HubProtocolError(f"the hub refused the link: {answer.reason}")
    if not isinstance(answer, Welcome) or answer.version != VERSION:
        raise LinkError("unknown_type", ".type")
    if hub_id is not None and answer.hub_id != hub_id:
        raise HubProtocolError("another hub answers on its socket")
    return SocketHubLink(answer, stream, buffer, lines[1:], receive)
