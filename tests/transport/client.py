"""A device for tests: a WebSocket client that shares no code with the server, and a server for it.

The client runs in a thread of its own loop (`websockets` has no Trio), so both ends are independent. Every
wait has a limit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import orjson
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.fakes.bus import FakeServer
from tests.transport.raw import RawPeer, open_raw
from transport.config import TransportConfig
from transport.http.services import HttpServices
from transport.listener import Listening, serve
from transport.ports import Renders

__all__ = ["LIMIT_S", "Client", "Served", "open_server"]

LIMIT_S = 40.0
"""How long anything in a test may take before it has failed."""


@attrs.define(eq=False)
class Client:
    """One connection, used from Trio."""

    socket: ClientConnection

    async def send(self, **frame: Any) -> None:
        await self.send_raw(orjson.dumps(frame).decode())

    async def send_raw(self, message: str | bytes) -> None:
        await trio.to_thread.run_sync(self.socket.send, message)

    async def receive(self, *kinds: str) -> dict[str, Any]:
        """Return the next frame, or with `kinds` the next of these; the others are dropped.

        What an agent offers comes after each `attached`, and counts only if it is asked for.
        """
        while True:
            frame = await trio.to_thread.run_sync(lambda: orjson.loads(self.socket.recv(timeout=LIMIT_S)))
            assert isinstance(frame, dict)
            for name in ("type", "content", "timestamp"):
                assert isinstance(frame[name], str), frame
            if frame["type"] in kinds or not (kinds or frame["type"] == "agent"):
                return frame

    async def closed(self) -> int | None:
        """Read to the end; return the close code."""

        def read() -> int | None:
            with suppress(ConnectionClosed):
                for _ in self.socket:
                    pass
            return self.socket.close_code

        return await trio.to_thread.run_sync(read)

    async def attach(self, session_id: str, **more: Any) -> dict[str, Any]:
        """Attach; return the answer. The frame `agent`, which follows `attached`, is read too."""
        await self.send(type="attach", session_id=session_id, **more)
        answer = await self.receive("attached", "error", "rejected")
        if answer["type"] == "attached":
            await self.receive("agent")
        return answer


@attrs.define(eq=False)
class Served:
    """A server over fakes, on a real port."""

    fakes: FakeServer
    listening: Listening
    services: HttpServices | None = None
    _peers: list[RawPeer] = attrs.field(factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.listening.port}"

    async def raw(self, *, small_buffer: bool = False) -> RawPeer:
        """Connect a peer that speaks bytes."""
        peer = await open_raw(self.listening.port, small_buffer=small_buffer)
        self._peers.append(peer)
        return peer

    def close_peers(self) -> None:
        """Close the peers that `raw` connected."""
        for peer in self._peers:
            peer.stream.socket.close()

    @asynccontextmanager
    async def client(
        self,
        key: str | None = "key-of-phone",
        *,
        path: str = "/api/ws",
        scheme: str = "ws",
        host: str = "127.0.0.1",
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> AsyncIterator[Client]:
        """Connect, and sign in by header unless `key` is None."""
        sent = headers or ({} if key is None else {"X-API-Key": key})
        url = f"{scheme}://{host}:{self.listening.port}{path}"

        def open_it() -> ClientConnection:
            made = connect(
                url, additional_headers=sent, proxy=None, ping_interval=None, compression=None, **more
            )
            entered: ClientConnection = made.__enter__()
            return entered

        client = Client(await trio.to_thread.run_sync(open_it))
        try:
            if key is not None:
                await client.receive("ready", "error")
            yield client
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(client.socket.close)


@asynccontextmanager
async def open_server(
    services: HttpServices | None = None, renderer: Renders | None = None, **config: Any
) -> AsyncIterator[Served]:
    """Serve fakes with a device `phone` (admin) inside the block, which has a limit of its own."""
    fakes = FakeServer()
    fakes.devices.add("phone")
    deps = fakes.deps()
    if services is not None:
        deps = attrs.evolve(deps, services=services, uploads=services.uploads)
    if renderer is not None:
        deps = attrs.evolve(deps, renderer=renderer)
    with trio.fail_after(6 * LIMIT_S):
        async with trio.open_nursery() as nursery:
            made = TransportConfig(port=0, **config)
            listening: Listening = await nursery.start(serve, made, deps)
            served = Served(fakes, listening, services)
            try:
                yield served
            finally:
                served.close_peers()
            nursery.cancel_scope.cancel()
