"""A server over fakes that the app connects to in memory, so that its time may be a virtual one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any, cast

import attrs
import trio
from trio.testing import memory_stream_pair

import transport.ios.connection  # noqa: F401 -- the server loads it on a thread, and a virtual clock would jump meanwhile
from actors.commands import Decide, Envelope
from actors.commands import Send as SendCommand
from actors.events.conversation import Complete, Delivery, Message, TurnStarted, UserMessage
from actors.events.permissions import PermissionResolved
from actors.replies import Accepted, Rejected
from storage.tables.app_exchanges import OpenExchange
from tests.app.emulation import Phone, Profile
from tests.app.line import KEY, LIMIT_S, Line, open_line
from tests.fakes.bus import ALIASES, FakeServer, FakeSession
from tests.fakes.devices import FakeDevice, FakeDevices
from transport.access.signin import SignIns
from transport.config import TransportConfig
from transport.ports import AppPorts
from transport.request_head import Refusal, find_end, parse_head, refusal_bytes
from transport.streams import Transport
from transport.upgrade import WebSocketUpgrade

__all__ = [
    "PHONE",
    "PHONE_ALIAS",
    "SESSION",
    "SESSION_ALIAS",
    "FakeKeys",
    "FakePairs",
    "Phones",
    "World",
    "open_phone",
    "open_world",
    "talk",
]

SESSION = "aaaaaaaa-1111-2222-3333-444444444444-claude-bbbbbbbb-1111-2222-3333-444444444444"
PHONE = "aaaaaaaa-1111-2222-3333-444444444444"

SESSION_ALIAS = ALIASES.session(SESSION)
PHONE_ALIAS = ALIASES.device(PHONE)
"""What stands for the two wherever the server keeps or shows them."""


LOOK_S = 0.02
"""How often a waiting test looks at the screen, which changes by itself."""


@attrs.define(eq=False)
class FakePairs:
    """See `transport.ports.AppPairs`, in memory."""

    used: dict[tuple[str, str], tuple[bytes, int]] = attrs.field(factory=dict)
    opened: dict[str, tuple[str, str, int]] = attrs.field(factory=dict)

    async def use(self, device_id: str, session_id: str, key: str, *, now_ms: int, keep_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        self.used[device_id, session_id] = (key.encode(), now_ms)

    async def owner(self, device_id: str, session_id: str, *, since_ms: int) -> bytes | None:
        await trio.lowlevel.checkpoint()
        key, at_ms = self.used.get((device_id, session_id), (None, 0))
        return key if at_ms >= since_ms else None

    async def open(
        self, device_id: str, session_id: str, message_id: str, *, now_ms: int, keep_ms: int
    ) -> None:
        await trio.lowlevel.checkpoint()
        self.opened[message_id] = (device_id, session_id, 0)

    async def newest(self, key: str, *, since_ms: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        found = {one[1]: at for one, (owner, at) in self.used.items() if owner == key.encode()}
        return sorted(
            (one for one, at in found.items() if at >= since_ms), key=found.__getitem__, reverse=True
        )

    async def open_exchanges(self, device_id: str, session_id: str) -> list[OpenExchange]:
        await trio.lowlevel.checkpoint()
        pair = (device_id, session_id)
        return [OpenExchange(name, one[2]) for name, one in self.opened.items() if one[:2] == pair]

    async def settle(self, told: Any, closed: Any) -> None:
        await trio.lowlevel.checkpoint()
        for one in told:
            if one.message_id in self.opened:
                pair = self.opened[one.message_id]
                self.opened[one.message_id] = (pair[0], pair[1], max(pair[2], one.told))
        for message_id in closed:
            self.opened.pop(message_id, None)


@attrs.frozen
class FakeKeys:
    """See `transport.ports.AppKeys`; a key's hash is the key."""

    devices: FakeDevices

    def find_hash(self, wanted: bytes) -> FakeDevice | None:
        return self.devices.find(wanted.decode())

    def get(self, device_id: str) -> FakeDevice | None:
        return next((one for one in self.devices.by_key.values() if one.id == device_id), None)


@attrs.define(eq=False)
class World:
    """The server and those who connect to it."""

    fakes: FakeServer
    pairs: FakePairs
    door: WebSocketUpgrade
    nursery: trio.Nursery
    config: TransportConfig
    forwarded_for: str = ""

    async def connect(self) -> trio.abc.Stream:
        """Return a stream that the server serves."""
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs)
        return ours

    def line(self, path: str = "/api/claude/ws") -> AbstractAsyncContextManager[Line]:
        """Connect: `async with world.line() as line`."""
        return self._line(path)

    @asynccontextmanager
    async def _line(self, path: str) -> AsyncIterator[Line]:
        async with open_line(await self.connect(), path, forwarded_for=self.forwarded_for) as line:
            yield line

    @asynccontextmanager
    async def signed_in(self, path: str = "/api/claude/ws", key: str = KEY) -> AsyncIterator[Line]:
        """Connect and sign in."""
        async with self._line(path) as line:
            await line.sign_in(key)
            yield line

    async def _serve(self, stream: Any) -> None:
        data = b""
        while find_end(data) is None:
            more = bytes(await stream.receive_some(65536))
            if not more:
                return
            data += more
        met = self.door.admit(cast("Transport", stream), parse_head(data[: find_end(data)]), data, full=False)
        try:
            if isinstance(met, Refusal):
                await stream.send_all(refusal_bytes(met))
            else:
                await met()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_world(**config: Any) -> AsyncIterator[World]:
    """Serve a session `SESSION` and a device `phone` inside the block."""
    fakes = FakeServer()
    fakes.devices.add("phone")
    numbers = count(1)
    pairs = FakePairs()
    ports = AppPorts(pairs, FakeKeys(fakes.devices), lambda: f"made{next(numbers)}")
    deps = attrs.evolve(fakes.deps(), app=ports)
    made = TransportConfig(**config)
    async with trio.open_nursery() as nursery:
        yield World(
            fakes,
            pairs,
            WebSocketUpgrade(made, deps, SignIns(deps.devices, deps.tries, deps.trail)),
            nursery,
            made,
        )
        nursery.cancel_scope.cancel()


def talk(*pieces: str, then: Callable[[FakeSession, str], object] | None = None) -> Callable[..., None]:
    """Return an owner that answers every message with these pieces at once, and takes decisions."""

    def on_command(session: FakeSession, envelope: Envelope) -> None:
        command = envelope.command
        if isinstance(command, SendCommand):
            items = session.journal_only(
                UserMessage(command.message_id, command.content), device_id=envelope.author.device_id
            )
            # The journal gives a message its turn's id at once.
            row = session.rows[-1]
            turn_id = f"turn-{session.head_seq + 1}"
            session.rows[-1] = attrs.evolve(row, turn_id=turn_id)
            items = [attrs.evolve(items[0], turn_id=turn_id)]
            items += session.journal_only(
                TurnStarted(command.message_id), Delivery(command.message_id, "handed")
            )
            envelope.reply(Accepted(command.message_id, items[0].seq, duplicate=False))
            session.tell(items)
            offset = 0
            for piece in pieces:
                session.publish(Message(piece, "b", offset))
                offset += len(piece)
            if then is not None:
                then(session, command.content)
            else:
                session.publish(Complete(2, offset, "00"))
        elif isinstance(command, Decide):
            open_ones = {one.request_id for one in session.pending}
            if command.request_id in open_ones:
                session.pending = tuple(o for o in session.pending if o.request_id != command.request_id)
                by = envelope.author.device_id
                session.publish(PermissionResolved(command.request_id, command.decision, by), device_id=by)
            else:
                who = {"code": "already_resolved", "content": "late"}
                envelope.reply(Rejected(**who, request_id=command.request_id, by_device="mac"))  # type: ignore[arg-type]

    return on_command


@attrs.define(eq=False)
class Phones:
    """Runs an emulated phone over the server's sockets, under whatever clock the test has."""

    connect: Callable[[], Any]
    path: str
    nursery: trio.Nursery
    phone: Phone = attrs.field(init=False)
    deletes: int = 0
    lines: dict[int, Line] = attrs.field(factory=dict)
    _outgoing: dict[int, list[tuple[str, str]]] = attrs.field(factory=dict)
    _moved: trio.Event = attrs.field(factory=trio.Event)

    def open(self, socket: int) -> None:
        self.nursery.start_soon(self._run, socket)

    def send(self, socket: int, text: str) -> None:
        self._outgoing.setdefault(socket, []).append(("text", text))
        self.touch()

    def ping(self, socket: int) -> None:
        self._outgoing.setdefault(socket, []).append(("ping", ""))
        self.touch()

    def close(self, socket: int) -> None:
        self._outgoing.setdefault(socket, []).append(("close", ""))
        self.touch()

    def delete_session(self, session_id: str) -> None:
        self.deletes += 1

    def touch(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def _run(self, socket: int) -> None:
        async with AsyncExitStack() as stack:
            line = await stack.enter_async_context(open_line(await self.connect(), self.path))
            self.lines[socket] = line

            def hear(text: str) -> None:
                self._catch_up()
                self.phone.on_text(socket, text)
                self.touch()

            line.hear = hear
            self._catch_up()
            self.phone.on_open(socket)
            self.touch()
            code = await line.closed()
            self._catch_up()
            self.phone.on_close(socket, code)
            self.touch()

    def _catch_up(self) -> None:
        self.phone.advance(trio.current_time())

    async def run(self) -> None:
        """Let the phone's time pass."""
        while True:
            self._catch_up()
            await self._write()
            moved, at = self._moved, self.phone.next_at
            until = at if at is not None else float("inf")
            with trio.move_on_at(until):  # noqa: ASYNC912 - always waits
                await moved.wait()

    async def _write(self) -> None:
        for socket, waiting in self._outgoing.items():
            line = self.lines.get(socket)
            if line is not None and line.ended:
                waiting.clear()  # the app writes to a socket that is gone, and hears nothing of it
            while waiting and line is not None:
                kind, text = waiting.pop(0)
                if kind == "text":
                    await line.say(text)
                elif kind == "ping":
                    await line.ping()
                else:
                    await line.close()

    async def until(self, done: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        """Wait until the screen shows something."""
        with trio.fail_after(limit_s):
            await trio.lowlevel.checkpoint()
            while not done():
                with trio.move_on_after(LOOK_S):
                    await self._moved.wait()


@asynccontextmanager
async def open_phone(
    connect: Callable[[], Any],
    profile: Profile,
    *,
    session_id: str = SESSION,
    device_id: str = PHONE,
    key: str = KEY,
    jitter: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Phones]:
    """Switch a phone on: `connect` gives a stream to the server."""
    path = "/api/codex/ws" if profile.chat_type == "codex" else "/api/claude/ws"
    async with trio.open_nursery() as nursery:
        phones = Phones(connect, path, nursery)
        phones.phone = Phone(phones, profile, key, session_id, device_id, jitter, trio.current_time())
        nursery.start_soon(phones.run)
        yield phones
        nursery.cancel_scope.cancel()
