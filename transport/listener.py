"""One port for HTTP and WebSocket.

Each connection is one task that contains all its failures (`_guarded`): trio-websocket's tasks may raise, and then only
this connection ends. The listener reads the head of the first request, puts it back in front of the stream, and chooses
the protocol by it. Every HTTP answer closes its connection, so an Upgrade never follows an earlier request.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import trio
from wsproto.utilities import ProtocolError

from transport.access.proxies import is_loopback
from transport.access.signin import SignIns, key_of_headers
from transport.config import TransportConfig
from transport.http.server import HttpServer
from transport.http.services import Port, Underway
from transport.http.stream import drain
from transport.limits import ConnectionLimit, GuestPlace, Places, Turnstile, pause_after
from transport.ports import Deps
from transport.request_head import HeadError, Refusal, RequestHead, find_end, parse_head, refusal_bytes
from transport.streams import Transport
from transport.upgrade import WebSocketUpgrade, address_of

__all__ = ["Listening", "serve"]

CLOSING_S: Final = 1.0
"""At a shutdown, how long all connections together may take to write and to receive our close frame."""

BACKLOG: Final = 1024
"""Connections that the kernel queues for us: many devices reconnect at once after a restart."""

KEEPALIVE_IDLE_S: Final = 60
KEEPALIVE_INTERVAL_S: Final = 15
KEEPALIVE_PROBES: Final = 4
"""With these, a device that vanished is detected after two minutes."""

_READ_BYTES: Final = 8 * 1024

MAX_HEAD_LINES: Final = 128
"""Lines of a request's head. Its bytes are bounded too, but each line costs h11 as much as a hundred bytes."""

_MANY: Final = Refusal(503, "overloaded", "Too many requests at once; try again later.")

logger = logging.getLogger("builderos.transport")

Speak = Callable[[], Awaitable[None]]
"""Serves a connection to its end."""


@attrs.frozen
class ListenerStatistics:
    """The load of the port.

    Attributes:
        connections: open now, of all kinds.
        unfinished: of these, without a key and not yet answered, or with a head that is not complete.
        waiting: of these, WebSockets that have not signed in.
        refused: turned away or cut since the start, for any of these bounds.
    """

    connections: int
    unfinished: int
    waiting: int
    refused: int


@attrs.define(eq=False)
class Listening:
    """A port that is being served.

    Attributes:
        addresses: (host, port) of each socket.
    """

    addresses: tuple[tuple[str, int], ...]
    _acceptor: _Acceptor
    _accepting: trio.CancelScope

    @property
    def port(self) -> int:
        """The port; with several sockets that of the first."""
        return self.addresses[0][1]

    @property
    def connections(self) -> int:
        """Open WebSockets."""
        return self._acceptor.websockets.open_count

    async def close_all(self) -> None:
        """Accept no more connections, ask all devices to reconnect (1001), cut those that do not answer in time.

        `serve` returns after that. Idempotent. If cancelled, the end of `serve` cuts the connections.
        """
        self._accepting.cancel(reason="shutdown")
        await self._acceptor.close_all()

    def close_device(self, device_id: str) -> None:
        """Close the connections of a device whose key was revoked (4401), and end its requests. Never blocks."""
        self._acceptor.close_device(device_id)

    def statistics(self) -> ListenerStatistics:
        """Return the load of the port."""
        door = self._acceptor
        gates = (door.all, door.unfinished, door.websockets.waiting)
        used = [gate.used for gate in gates]
        return ListenerStatistics(used[0], used[1], used[2], sum(gate.refused for gate in gates))


async def serve(
    config: TransportConfig,
    deps: Deps,
    *,
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[Listening] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the port until cancelled, or until `Listening.close_all`.

    Args:
        config: limits and names.
        deps: the services of the rest of the server.
        tls: speak TLS only, with this context.
        task_status: gets a `Listening` once the sockets are bound.

    Raises:
        OSError: the port cannot be bound.
    """
    listeners = await trio.open_tcp_listeners(config.port, host=config.host, backlog=BACKLOG)
    door = _Acceptor(config, deps, tls)
    addresses = tuple(_address(listener) for listener in listeners)
    async with trio.open_nursery() as background:
        background.start_soon(door.websockets.run)
        async with trio.open_nursery() as handlers:
            with trio.CancelScope() as accepting:
                task_status.started(Listening(addresses, door, accepting))
                await trio.serve_listeners(door.guarded, listeners, handler_nursery=handlers)
            await door.close_all()
        background.cancel_scope.cancel(reason="all connections are closed")


def _address(listener: trio.SocketListener) -> tuple[str, int]:
    name = listener.socket.getsockname()
    return str(name[0]), int(name[1])


@attrs.define(eq=False)
class _Guest:
    """How to serve a connection to its end, and whether its head had a valid key."""

    _speak: Speak | None
    is_known: bool

    def serve(self) -> Awaitable[None]:
        """Serve it, once. How is forgotten with that, so that an idle connection does not keep it."""
        speak, self._speak = self._speak, None
        assert speak is not None
        return speak()


class _Acceptor:
    """Accepts connections and serves each in a task of its own."""

    def __init__(self, config: TransportConfig, deps: Deps, tls: ssl.SSLContext | None) -> None:
        self.config = config
        self.tls = tls
        self.all = ConnectionLimit(config.max_connections)
        self.unfinished = Places(config.places)
        self.turnstile = Turnstile()
        sign_ins = SignIns(deps.devices, deps.tries, deps.trail)
        self.sign_ins = sign_ins
        self.websockets = WebSocketUpgrade(config, deps, sign_ins, self.turnstile)
        self.underway = Underway()
        port = Port(
            counts=self.websockets.counts,
            gauges=self.gauges,
            close_device=self.close_device,
            underway=self.underway,
        )
        self.http = HttpServer(config, deps, port, sign_ins)
        self._open: set[Transport] = set()
        self._changed = trio.Event()
        self._noted_proxy = False

    def gauges(self) -> dict[str, int]:
        """Return how many connections there are, by kind."""
        return {
            "all": self.all.used,
            "unfinished": self.unfinished.used,
            "waiting": self.websockets.waiting.used,
        }

    def close_device(self, device_id: str) -> None:
        """Implements `Listening.close_device`."""
        self.websockets.close_device(device_id)
        self.underway.end(device_id)

    async def guarded(self, raw: trio.SocketStream) -> None:
        """Serve one connection; no error leaves it."""
        _set_options(raw.socket)
        stream: Transport = raw
        if self.tls is not None:
            stream = trio.SSLStream(raw, self.tls, server_side=True, https_compatible=True)
        self._open.add(stream)
        inside = self.all.enter()
        try:
            await self._serve(stream, full=not inside)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("connection: lost")
        except* ProtocolError as group:
            # Also if a peer pings while we close: trio-websocket then raises in a task of its own.
            logger.debug("connection: the peer broke the protocol: %r", group.exceptions)
        except* Exception:
            logger.exception("connection: failed; the others continue")
        finally:
            if inside:
                self.all.leave()
            self._open.discard(stream)
            self._changed.set()
            await trio.aclose_forcefully(raw)

    async def _serve(self, stream: Transport, *, full: bool) -> None:
        begun = await self._begin(stream, full=full)
        if begun is None:
            return
        guest, site = begun
        await guest.serve()
        if guest.is_known:
            await drain(stream)
            return
        # Its WebSocket has ended. It counts again until it is closed, so that the sum has a bound.
        with trio.CancelScope() as scope:
            place = self.unfinished.enter(site, scope.cancel)
            try:
                await drain(stream)
            finally:
                place.leave()

    async def _begin(self, stream: Transport, *, full: bool) -> tuple[_Guest, str] | None:
        """Serve the connection while it has a place; return how to serve the rest, and its site; None if that is all.

        A separate function, so that an idle connection keeps neither the place nor its scope.
        """
        guest = None
        with trio.CancelScope() as scope:
            place = self.unfinished.enter(address_of(stream), partial(_send_away, stream, scope))
            try:
                guest = await self._meet(stream, place, scope, full=full)
                # Until it is answered, another connection may take its place.
                if guest is not None and place.held:
                    await guest.serve()
                    await drain(stream)
                    return None
            finally:
                place.leave()
        return None if guest is None or scope.cancel_called else (guest, place.site)

    async def _meet(
        self, stream: Transport, place: GuestPlace, scope: trio.CancelScope, *, full: bool
    ) -> _Guest | None:
        """Read the first request; return how to serve the connection, None if it is answered already.

        A separate function, so that an idle connection keeps nothing of its request in memory.
        """
        data = await self._read_head(stream)
        if data is None:
            return None
        place.make_room = partial(scope.cancel, reason="another connection takes its place")
        try:
            head = parse_head(data[: find_end(data)])
        except HeadError as error:
            await self._answer(stream, Refusal(400, "bad_request", f"Bad request: {error}."))
            return None
        is_known = self.sign_ins.knows(key_of_headers(head.headers))
        if is_known:
            place.leave()
        else:
            place.move(self.websockets.client(stream, head))
            self._note_proxy(stream, head)
            await self.turnstile.go_through()
        met = self._route(stream, head, data, full=full)
        if isinstance(met, Refusal):
            await self._answer(stream, met)
            return None
        if head.is_websocket and not full:
            place.leave()  # it waits for its sign-in among the WebSockets
        return _Guest(met, is_known)

    def _note_proxy(self, stream: Transport, head: RequestHead) -> None:
        """Log once that a proxy on this machine is not configured: all its clients then share one address."""
        proxies = self.websockets.proxies
        if self._noted_proxy or proxies.networks or not is_loopback(address_of(stream)):
            return
        if any(name == b"x-forwarded-for" for name, _ in head.headers):
            self._noted_proxy = True
            logger.warning(
                "proxy on this machine is not in trusted_proxies, so its clients count as one address:"
                ' put trusted_proxies = ["127.0.0.0/8", "::1/128"] into the config'
            )

    def _route(self, stream: Transport, head: RequestHead, data: bytes, *, full: bool) -> Speak | Refusal:
        if head.is_websocket:
            return self.websockets.admit(stream, head, data, full=full)
        if full:
            return Refusal(503, "overloaded", "The server has too many connections; try again later.")
        return partial(self.http.serve, stream, head, data)

    async def _read_head(self, stream: Transport) -> bytes | None:
        """Return the first bytes up to the end of the head or beyond; None if no valid request arrives."""
        data = bytearray()
        small_reads = 0
        with trio.move_on_after(self.config.head_s) as scope:
            if isinstance(stream, trio.SSLStream):
                await stream.do_handshake()
            while True:
                before = len(data)
                chunk = await stream.receive_some(_READ_BYTES)
                if not chunk:
                    return None
                data += chunk if data else chunk.lstrip(b"\r\n")
                end = find_end(data, before)
                if (end or len(data)) > self.config.head_bytes or data.count(
                    b"\n", 0, end or len(data)
                ) > MAX_HEAD_LINES:
                    await self._answer(
                        stream,
                        Refusal(
                            431,
                            "head_too_large",
                            "The request's head is too large; send fewer or shorter headers.",
                        ),
                    )
                    return None
                if end is not None:
                    return bytes(data)
                small_reads = await pause_after(chunk, small_reads)
        if scope.cancelled_caught:
            await self._answer(stream, Refusal(408, "timeout", "The request's head did not arrive in time."))
        return None

    async def _answer(self, stream: Transport, refusal: Refusal) -> None:
        with trio.move_on_after(CLOSING_S):
            await stream.send_all(refusal_bytes(refusal))
        await drain(stream)

    async def close_all(self) -> None:
        """Close every connection, first with a close frame, then by force."""
        await self.http.stop()
        with trio.move_on_after(CLOSING_S):
            await self.websockets.close_all()
            while self._open:
                if self._changed.is_set():
                    self._changed = trio.Event()
                await self._changed.wait()
        for stream in tuple(self._open):
            await trio.aclose_forcefully(stream)


def _send_away(stream: Transport, scope: trio.CancelScope) -> None:
    """End a connection whose place another one takes, before its head is complete."""
    if isinstance(stream, trio.SocketStream):
        with suppress(OSError):
            os.write(stream.socket.fileno(), refusal_bytes(_MANY))
    scope.cancel(reason="another connection takes its place")


def _set_options(sock: trio.socket.SocketType) -> None:
    """Detect dead connections by TCP keepalive; the names differ between systems."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    if idle is not None:
        sock.setsockopt(socket.IPPROTO_TCP, idle, KEEPALIVE_IDLE_S)
    if hasattr(socket, "TCP_KEEPINTVL"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
