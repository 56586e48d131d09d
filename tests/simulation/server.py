"""One server of a history: the real supervisor and the real connections, over the seams of `store` and `hubs`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import trio
import trio_websocket

from actors.config import ActorConfig
from actors.session.ack_pacer import Lateness
from actors.session.effect_runner import SessionDeps
from actors.supervisor import Supervisor, open_supervisor
from bridgehub.protocol.codec import LineBuffer
from bridgehub.protocol.hub_spec import HubSpec
from storage.aliases import Aliases
from storage.errors import StorageUnavailable
from storage.records import SessionRecord
from tests.fakes.bus import FakeAuditLog, NoRenderer, NoUploads
from tests.fakes.devices import FakeDevices
from tests.simulation.chaos import Chaos
from tests.simulation.hubs import HubHandle, Machine
from tests.simulation.store import Life, SharedStore, StoreHandle
from tests.simulation.wires import End, Wire
from transport.access.attempts import SignInThrottle
from transport.access.audit_trail import AuditTrail
from transport.access.signin import SignIn, SignIns
from transport.config import TransportConfig
from transport.ports import Deps
from transport.push.attention import Attention
from transport.streams import FrameStream
from transport.v3.connection import ConnectionV3
from transport.v3.rendered import Renderings
from transport.websocket import close_codes
from transport.websocket.heartbeat import Heartbeat

__all__ = ["SimServer"]

WRITE_S = 20.0
"""How long a device may refuse a write; the real server's minute, made shorter."""


def spec_for(record: SessionRecord, hub_id: str) -> HubSpec:
    return HubSpec(hub_id, record.session_id, record.agent_type, "plan", "/f", "/s", "/w", {}, {}, "a")


@attrs.define(eq=False)
class _LineSocket:
    """What a connection needs of trio-websocket: a frame is a line here, and bytes that are half one are lost."""

    end: End
    frames: FrameStream
    lines: LineBuffer = attrs.field(factory=LineBuffer)
    early: list[bytes] = attrs.field(factory=list)
    closed: bool = False

    async def get_message(self) -> str:
        while not self.early:
            try:
                data = await self.end.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data or self.closed:
                raise trio_websocket.ConnectionClosed(None)
            self.early = self.lines.feed(data)
        await trio.lowlevel.checkpoint()
        return self.early.pop(0).decode()

    async def aclose(self, code: int, reason: str) -> None:
        body = code.to_bytes(2, "big") + reason.encode()
        await self.frames.send_all(bytes((0x88, len(body))) + body)
        self.closed = True
        self.end.close()


class _Frames(FrameStream):
    """The connection's own stream, with its way past the loop: what the line takes at once is not waited for."""

    chaos: Chaos | None = None

    def _write_nowait(self, frames: bytes) -> int:
        assert isinstance(self.inner, End)
        chaos = self.chaos
        if chaos is not None and chaos.plan.knobs.partial_writes and not chaos.healed:
            frames = frames[: chaos.sockets.randint(0, len(frames))]
        return len(frames) if self.inner.send_nowait(frames) else 0


@attrs.define(eq=False)
class SimServer:
    """A simulated server. Made, run, and killed or stopped; the next one is another object."""

    chaos: Chaos
    store: SharedStore
    machine: Machine
    devices: FakeDevices
    life: Life
    asked: trio.Event = attrs.field(factory=trio.Event)
    stop_hubs: bool = False
    shut: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    supervisor: Supervisor | None = None
    is_running: bool = False
    ended: trio.Event = attrs.field(factory=trio.Event)
    served_at_ms: int | None = None
    crash_count: int = 0
    failed_count: int = 0
    _hubs: HubHandle = attrs.field(init=False)
    _journal: StoreHandle = attrs.field(init=False)
    _config: TransportConfig = attrs.field(init=False)
    _connections: dict[ConnectionV3, None] = attrs.field(factory=dict)
    _wires: list[Wire] = attrs.field(factory=list)
    _nursery: trio.Nursery | None = None
    _left: trio.Event = attrs.field(factory=trio.Event)
    _heartbeat: Heartbeat = attrs.field(factory=lambda: Heartbeat(15.0))
    _deps: Deps | None = None

    def __attrs_post_init__(self) -> None:
        self._hubs = HubHandle(self.machine, self.life)
        self._journal = StoreHandle(store=self.store, life=self.life)
        self._config = TransportConfig(agents=("plan",), workspace="/w", write_s=WRITE_S)

    @property
    def is_open(self) -> bool:
        """Whether devices may connect."""
        serves = self._nursery is not None and not self.shut
        return serves and not self.asked.is_set() and not self.life.dead

    def shut_out(self) -> None:
        """Let no device reach it any more."""
        self.shut = True
        for wire in self._wires:
            wire.far.close()

    def count(self) -> None:
        """Note how many sessions crashed so far."""
        if self.supervisor is not None:
            figures = self.supervisor.statistics()
            self.crash_count, self.failed_count = figures.crash_count, figures.failed_count

    async def run(self) -> None:
        """Serve until killed or stopped. A server that cannot read its sessions ends at once."""
        self.is_running = True
        try:
            with self.scope:
                await self._run()
        except* StorageUnavailable:
            self.chaos.note(f"server {self.life.number} could not start")
        except* Exception as group:
            self.chaos.complain(f"the server crashed: {group!r} {group.exceptions!r}")
        finally:
            self.is_running, self._nursery = False, None
            self.ended.set()
            for wire in self._wires:
                wire.far.close()
            self._hubs.drop()

    async def _run(self) -> None:
        knobs = self.chaos.plan.knobs
        deps = SessionDeps(
            journal=self._journal,
            ownership=self._journal,
            catalog=self._journal,
            hubs=self._hubs,
            clock=self.chaos.now_ms,
            new_id=self.chaos.new_id,
            spec_for=spec_for,
            config=ActorConfig(
                hub_idle_s=knobs.hub_idle_s,
                actor_idle_s=knobs.actor_idle_s,
            ),
            lateness=Lateness(knobs.gather_ms),
        )
        async with open_supervisor(deps) as supervisor:
            self.supervisor = supervisor
            await supervisor.recover()
            self.chaos.note(f"server {self.life.number} serves")
            self.served_at_ms = self.chaos.now_ms()
            await self._serve(supervisor)
            await supervisor.close(stop_hubs=self.stop_hubs)

    @asynccontextmanager
    async def _front(self, supervisor: Supervisor) -> AsyncIterator[Any]:
        """Open what connections speak to."""
        yield supervisor

    async def _serve(self, supervisor: Supervisor) -> None:
        async with self._front(supervisor) as front:
            await self._serve_with(front)

    async def _serve_with(self, front: Any) -> None:
        self._deps = Deps(
            bus=front,
            live=front,
            catalog=self._journal,
            journal=self._journal,
            devices=self.devices,
            watch=front.watch,
            clock=self.chaos.now_ms,
            aliases=Aliases(b"simulated"),
            attention=Attention(self.chaos.now_ms),
            uploads=NoUploads(),
            renderer=NoRenderer(),
            trail=AuditTrail(FakeAuditLog(), self.chaos.now_ms),
        )
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._heartbeat.run)
            await self.asked.wait()
            for connection in tuple(self._connections):
                connection.request_close(close_codes.RESTART)
            with trio.move_on_after(self._config.close_s):  # noqa: ASYNC912 - there may be none
                while self._connections:
                    self._left = trio.Event()
                    await self._left.wait()
            self._nursery.cancel_scope.cancel(reason="shutdown")

    def kill(self) -> None:
        """End it as `kill -9` would: at once, and nothing that it still does reaches anybody."""
        self.life.dead = True
        self.chaos.note(f"server {self.life.number} is killed")
        for wire in self._wires:
            wire.far.close()
        self._hubs.drop()
        self.scope.cancel(reason="killed")

    def stop(self, *, stop_hubs: bool) -> None:
        """Ask it to end in order, as a signal does."""
        self.chaos.note(f"server {self.life.number} is to stop, hubs too: {stop_hubs}")
        self.stop_hubs = stop_hubs
        self.asked.set()

    def take(self, wire: Wire, key: str) -> None:
        """Accept a device's connection, signed in by header."""
        assert self._nursery is not None
        self._wires = [one for one in self._wires if one.is_whole]
        self._wires.append(wire)
        self._nursery.start_soon(self._serve_one, wire.far, key)

    async def _serve_one(self, end: End, key: str) -> None:
        try:
            await self._converse(end, key)
        except* Exception as group:
            self.chaos.complain(f"a connection crashed: {group.exceptions!r}")
        finally:
            end.close()

    async def _converse(self, end: End, key: str) -> None:
        assert self._deps is not None
        frames = _Frames(end, b"", b"", WRITE_S)
        frames.chaos = self.chaos
        socket: Any = _LineSocket(end, frames)
        sign_in = SignIn(SignIns(self.devices, SignInThrottle(), self._deps.trail), "127.0.0.1", key)
        connection = ConnectionV3(
            ws=cast("trio_websocket.WebSocketConnection", socket),
            stream=frames,
            config=self._config,
            deps=self._deps,
            sign_in=sign_in,
            place=None,
            heartbeat=self._heartbeat,
            renderings=Renderings(self._deps.renderer, self._journal, self.chaos.now_ms),
        )
        async with trio.open_nursery() as nursery:
            self._connections[connection] = None
            try:
                await connection.run(nursery)
            finally:
                del self._connections[connection]
                self._left.set()
            nursery.cancel_scope.cancel(reason="the conversation is over")
