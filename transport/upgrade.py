"""Turns an upgrade request into a connection that speaks the requested protocol."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

import attrs
import trio
import trio_websocket

from transport.access.proxies import Proxies
from transport.access.signin import SignIn, SignIns, key_of_headers
from transport.config import TransportConfig
from transport.limits import GuestPlace, Places, Turnstile
from transport.ports import AppPorts, Deps
from transport.request_head import Refusal, RequestHead, find_end, handshake_fault
from transport.streams import FrameStream, Transport
from transport.v3.connection import ConnectionV3
from transport.v3.decode import SUBPROTOCOL
from transport.v3.rendered import Renderings
from transport.websocket import close_codes
from transport.websocket.connection import DeviceConnection, lighten
from transport.websocket.frames import MAX_CLIENT_FRAME_BYTES, MAX_FIRST_BYTES, Incoming
from transport.websocket.heartbeat import Heartbeat
from transport.websocket.reader import READ_BYTES, FrameReader

if TYPE_CHECKING:
    from transport.ios.connection import AppShared

__all__ = ["WebSocketUpgrade", "address_of"]

MESSAGE_QUEUE: Final = 1
"""Frames that trio-websocket reads ahead, 1 MiB each at worst."""

CUT_S: Final = 0.1
"""How long a connection whose place another one takes may need to write its close frame."""

_PATHS: Final = {"/api/ws": None, "/api/claude/ws": "claude", "/api/codex/ws": "codex"}


@attrs.frozen
class Upgrade:
    """The content of an upgrade request.

    Attributes:
        agent: the old path's agent; None on the common path.
        subprotocol: the subprotocol of the answer.
        address: of the client.
    """

    agent: str | None
    subprotocol: str | None
    address: str
    key: str | None = attrs.field(repr=False)


_MakeConnection = Callable[
    [Upgrade, trio_websocket.WebSocketConnection, FrameStream, GuestPlace | None], DeviceConnection
]


@attrs.define(eq=False)
class WebSocketUpgrade:
    """Accepts WebSockets, and knows all that are open."""

    config: TransportConfig
    deps: Deps
    sign_ins: SignIns
    turnstile: Turnstile = attrs.field(factory=Turnstile)
    waiting: Places = attrs.field(init=False)
    waiting_app: Places = attrs.field(init=False)
    heartbeat: Heartbeat = attrs.field(init=False)
    renderings: Renderings = attrs.field(init=False)
    proxies: Proxies = attrs.field(init=False)
    _app: AppShared | None = None
    # A module is in `sys.modules` before it is whole, so that is not asked while another task may load it.
    _app_is_loaded: bool = attrs.field(factory=lambda: "transport.ios.connection" in sys.modules)
    _open: dict[DeviceConnection, str | None] = attrs.field(factory=dict)
    _all_closed: trio.Event | None = None

    def __attrs_post_init__(self) -> None:
        self.waiting = Places(self.config.places)
        self.waiting_app = Places(min(self.config.app_max_waiting, self.config.places))
        self.heartbeat = Heartbeat(self.config.heartbeat_s)
        self.proxies = Proxies.named(self.config.trusted_proxies)
        deps = self.deps
        self.renderings = Renderings(deps.renderer, deps.journal, deps.clock)

    @property
    def open_count(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def counts(self) -> dict[str, int]:
        """Return the open connections of each old path."""
        agents = [agent for agent in _PATHS.values() if agent is not None]
        return {agent: sum(1 for at in self._open.values() if at == agent) for agent in agents}

    def close_device(self, device_id: str) -> None:
        """Close the connections of one device, whose key is revoked."""
        for connection in tuple(self._open):
            if connection.device is not None and connection.device.id == device_id:
                connection.request_close(close_codes.BAD_KEY)

    async def close_all(self) -> None:
        """Ask all to reconnect later; return when they are closed."""
        while self._open:
            for connection in tuple(self._open):
                connection.request_close(close_codes.RESTART)
            if self._all_closed is None or self._all_closed.is_set():
                self._all_closed = trio.Event()
            await self._all_closed.wait()

    def admit(
        self, stream: Transport, head: RequestHead, data: bytes, *, full: bool
    ) -> Callable[[], Awaitable[None]] | Refusal:
        """Return how to serve one WebSocket to its end, or a refusal if it must not get one.

        Args:
            stream: the stream of the request.
            head: the upgrade request.
            data: the bytes read so far: the request's head and maybe more.
            full: the server has as many connections as it accepts.
        """
        if head.path not in _PATHS:
            return Refusal(404, "not_found", "There is no such WebSocket.")
        fault = handshake_fault(head)
        if fault is not None:
            return fault
        speaks_v3 = SUBPROTOCOL in head.tokens(b"sec-websocket-protocol")
        agent = _PATHS[head.path]
        end = find_end(data) or len(data)
        address = self.client(stream, head)
        start = (stream, data[:end], data[end:], self.config.write_s)
        if agent is not None and not speaks_v3:
            frames = FrameStream(*start, FrameReader(self.turnstile))
            return self._admit_app(frames, Upgrade(agent, None, address, None), full=full)
        key = key_of_headers(head.headers)
        upgrade = Upgrade(agent, SUBPROTOCOL if speaks_v3 else None, address, key)
        incoming = Incoming(MAX_FIRST_BYTES, had_message=full or key is not None)
        frames = FrameStream(*start, FrameReader(self.turnstile, incoming))
        if full:
            return partial(self._turn_away, frames, upgrade)
        place = None if self.sign_ins.knows(key) else self.waiting.enter(address)
        return partial(self._serve, frames, upgrade, place, self._make_v3)

    def client(self, stream: Transport, head: RequestHead) -> str:
        """Return the client's address of a request: behind a trusted proxy the address that it names."""
        return self.proxies.client(address_of(stream), head.headers)

    def _admit_app(
        self, frames: FrameStream, upgrade: Upgrade, *, full: bool
    ) -> Callable[[], Awaitable[None]] | Refusal:
        ports = self.deps.app
        if ports is None:
            return Refusal(503, "unavailable", f"This server speaks only subprotocol {SUBPROTOCOL}.")
        limit = self.config.app_max_waiting_per_site
        place = None if full else self.waiting_app.enter_if_free(upgrade.address, per_site=limit)
        if place is None:
            return Refusal(503, "overloaded", "Too many connections wait for their sign-in; try again later.")
        return partial(self._serve_app, frames, upgrade, place, ports)

    async def run(self) -> None:
        """Run the tasks that serve all WebSockets, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.heartbeat.run)
            nursery.start_soon(self.renderings.run)

    async def _serve_app(
        self, stream: FrameStream, upgrade: Upgrade, place: GuestPlace, ports: AppPorts
    ) -> None:
        """Serve the iOS app. What speaks its protocol is loaded with the first one, on a thread: it takes 35 ms."""
        try:
            if not self._app_is_loaded:
                await trio.to_thread.run_sync(import_module, "transport.ios.connection")
                self._app_is_loaded = True
            await self._serve(stream, upgrade, place, partial(self._make_app, ports))
        finally:
            place.leave()

    async def _serve(
        self, stream: FrameStream, upgrade: Upgrade, place: GuestPlace | None, make: _MakeConnection
    ) -> None:
        """Serve one WebSocket; `place` is None if the head's key is good."""
        try:
            async with trio.open_nursery() as nursery:
                if place is not None:
                    place.make_room = partial(
                        nursery.cancel_scope.cancel, reason="another connection takes its place"
                    )
                may_stay = place is None or place.held
                ws = await self._shake_hands(nursery, stream, upgrade) if may_stay else None
                if ws is not None:
                    connection = make(upgrade, ws, stream, place)
                    if place is not None:
                        place.make_room = partial(_cut, connection, nursery.cancel_scope)
                    self._open[connection] = upgrade.agent
                    try:
                        await connection.run(nursery)
                    finally:
                        self._forget(connection)
                nursery.cancel_scope.cancel(reason="the conversation is over")
            await stream.finish()
        finally:
            if place is not None:
                place.leave()

    async def _turn_away(self, stream: FrameStream, upgrade: Upgrade) -> None:
        async with trio.open_nursery() as nursery:
            ws = await self._shake_hands(nursery, stream, upgrade)
            if ws is not None:
                with trio.move_on_after(self.config.close_s):
                    await ws.aclose(close_codes.TOO_MANY.code, close_codes.TOO_MANY.reason)
            nursery.cancel_scope.cancel(reason="turned away")

    async def _shake_hands(
        self, nursery: trio.Nursery, stream: FrameStream, upgrade: Upgrade
    ) -> trio_websocket.WebSocketConnection | None:
        """Accept the upgrade; None if the peer's handshake is not valid."""
        with trio.move_on_after(self.config.head_s):
            request = await trio_websocket.wrap_server_stream(
                nursery,
                stream,
                message_queue_size=MESSAGE_QUEUE,
                max_message_size=MAX_CLIENT_FRAME_BYTES,
                receive_buffer_size=READ_BYTES,
            )
            stream.ws = await request.accept(subprotocol=upgrade.subprotocol)
            lighten(stream.ws)
            return stream.ws
        return None

    def _forget(self, connection: DeviceConnection) -> None:
        del self._open[connection]
        if not self._open and self._all_closed is not None:
            self._all_closed.set()

    def _make_v3(
        self,
        upgrade: Upgrade,
        ws: trio_websocket.WebSocketConnection,
        stream: FrameStream,
        place: GuestPlace | None,
    ) -> DeviceConnection:
        return ConnectionV3(
            ws=ws,
            stream=stream,
            config=self.config,
            deps=self.deps,
            sign_in=SignIn(self.sign_ins, upgrade.address, upgrade.key),
            place=place,
            heartbeat=self.heartbeat,
            renderings=self.renderings,
        )

    def _make_app(
        self,
        ports: AppPorts,
        upgrade: Upgrade,
        ws: trio_websocket.WebSocketConnection,
        stream: FrameStream,
        place: GuestPlace | None,
    ) -> DeviceConnection:
        from transport.ios.connection import AppConnection, AppShared  # many servers never meet the app

        assert upgrade.agent is not None
        self._app = self._app or AppShared()
        return AppConnection(
            ws=ws,
            stream=stream,
            config=self.config,
            deps=self.deps,
            sign_in=SignIn(self.sign_ins, upgrade.address, None),
            place=place,
            ports=ports,
            shared=self._app,
            agent=upgrade.agent,
        )


def _cut(connection: DeviceConnection, scope: trio.CancelScope) -> None:
    """End a connection whose place another one takes."""
    connection.request_close(close_codes.TOO_MANY)
    scope.deadline = min(scope.deadline, trio.current_time() + CUT_S)


def address_of(stream: Transport) -> str:
    """Return the peer's address; empty if it is gone already or has none."""
    raw = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    try:
        return str(raw.socket.getpeername()[0])
    except (OSError, IndexError, AttributeError):
        return ""
