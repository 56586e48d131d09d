"""The connection of the full-screen client: what it sends when, over losses and refusals. Links are scripted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import orjson
import pytest

from builderos.client.state import Follow, RefusedError
from builderos.client.wire.frames import Frame, decode
from builderos.client.wire.server import LinkLostError, NoServerError, Server
from builderos.terminal.wire import wire as module
from builderos.terminal.wire.wire import Wire


@attrs.define(eq=False)
class Link:
    """One connection: frames that are put in come out; None ends it."""

    ready: Frame
    round_trip_s: float = 0.04
    sent: list[dict[str, Any]] = attrs.field(factory=list)
    coming: asyncio.Queue[Frame | None] = attrs.field(factory=asyncio.Queue)

    def send(self, frame: str) -> None:
        self.sent.append(orjson.loads(frame))

    async def receive(self, limit_s: float) -> Frame:
        frame = await self.coming.get()
        if frame is None:
            raise LinkLostError("cut")
        return frame

    def expect(self, within_s: float) -> None:
        """Stands for doubting the connection."""

    def come(self, kind: str, **fields: Any) -> None:
        self.coming.put_nowait(decode(orjson.dumps({"type": kind, "content": "", **fields})))

    def attached(self, session_id: str, **fields: Any) -> None:
        known = {"epoch": 1, "from_seq": 1, "head_seq": 0, "replay": "snapshot"}
        self.come("attached", session_id=session_id, **{**known, **fields})

    def kinds(self) -> list[str]:
        return [f"{one['type']} {one.get('session_id', '')}".strip() for one in self.sent]


@attrs.define(eq=False)
class Heard:
    """A listener that keeps what it heard."""

    frames: list[str] = attrs.field(factory=list)
    states: list[str] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    settled: list[str] = attrs.field(factory=list)
    wire: Wire | None = None

    def on_frame(self, frame: Frame) -> None:
        self.frames.append(frame.kind)

    def on_connection(self) -> None:
        assert self.wire is not None
        self.states.append(self.wire.state)

    def on_outbox(self, follow: Follow) -> None:
        self.settled.append(follow.session_id)

    def on_refused(self, follow: Follow, error: RefusedError) -> None:
        self.refused.append(f"{follow.session_id}: {error}")


@attrs.define(eq=False)
class World:
    """A wire, and the links that it opened so far. While `down`, none can be opened."""

    wire: Wire
    heard: Heard
    links: list[Link] = attrs.field(factory=list)
    down: bool = False

    async def step(self) -> None:
        """Let all tasks run until they wait."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def link(self, number: int) -> Link:
        while len(self.links) <= number:
            self.wire._again.set()
            await self.step()
        await self.step()
        return self.links[number]


def play(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[World], Awaitable[None]], follow: Follow | None = None
) -> None:
    async def run() -> None:
        heard = Heard()
        wire = Wire(lambda: Server("http://here", "key"), random.Random(1), heard, follow)
        heard.wire = wire
        world = World(wire, heard)

        @asynccontextmanager
        async def open_link(server: Server) -> AsyncIterator[Link]:
            if world.down:
                raise NoServerError("there is none")
            world.links.append(Link(decode(b'{"type":"ready","heartbeat_s":15}')))
            yield world.links[-1]

        monkeypatch.setattr(module, "open_link", open_link)
        task = asyncio.create_task(wire.run())
        try:
            await act(world)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_comes_back_with_its_position_and_sends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(world: World) -> None:
        follow = world.wire.shown
        assert follow is not None
        one = await world.link(0)
        assert one.kinds() == ["attach a"]
        one.attached("a")
        one.come("notice", session_id="a", epoch=1, seq=1)
        await world.step()
        one.coming.put_nowait(None)
        await world.step()
        world.wire.message(follow, "m1", "hello")
        two = await world.link(1)
        assert two.sent[0]["after"] == {"epoch": 1, "seq": 1}
        assert two.kinds() == ["attach a"], "not before it is attached"
        two.attached("a", replay="ok", from_seq=2)
        await world.step()
        assert two.sent[1]["message_id"] == "m1"
        two.come("accepted", session_id="a", message_id="m1", seq=2)
        await world.step()
        assert world.heard.settled == ["a"]
        two.come("notice", session_id="a", epoch=1, seq=4)  # 2 and 3 are missing
        three = await world.link(2)
        assert three.sent[0]["after"] == {"epoch": 1, "seq": 1}
        assert "m1" not in str(three.sent)

    play(monkeypatch, act, Follow("a", "echo"))


def test_says_offline_after_three_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(world: World) -> None:
        one = await world.link(0)
        world.down = True
        one.coming.put_nowait(None)
        while world.wire.state != "offline":
            world.wire.wake()
            await world.step()
        assert world.heard.states == ["live", "reconnecting", "reconnecting", "reconnecting", "offline"]
        world.down = False
        await world.link(1)
        assert world.heard.states[-1] == "live"

    play(monkeypatch, act)


def test_delivers_for_sessions_that_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(world: World) -> None:
        parked = Follow("b", "echo", history=0)
        parked.send_frame("m1", "for b")
        world.wire.wait_for(parked)
        one = await world.link(0)
        assert one.kinds() == ["attach a", "attach b"]
        one.attached("a")
        one.attached("b")
        one.come("accepted", session_id="b", message_id="m1", seq=1)
        await world.step()
        assert one.kinds()[2:] == ["send b", "detach b"]
        assert world.heard.settled == ["b"]
        one.come("error", session_id="a", code="unknown_session")
        await world.step()
        assert world.heard.frames == ["attached", "error"], "nothing of the session in the background"

    play(monkeypatch, act, Follow("a"))


def test_a_refused_session_leaves_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(world: World) -> None:
        one = await world.link(0)
        one.come("error", session_id="a", code="unknown_session", content="There is no such session.")
        await world.step()
        assert world.heard.refused == ["a: There is no such session."]
        assert world.wire.shown is None
        world.wire.show(Follow("b"))
        assert one.kinds()[-1] == "attach b"
        assert len(world.links) == 1

    play(monkeypatch, act, Follow("a"))


def test_behind_is_what_heartbeats_say(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(world: World) -> None:
        one = await world.link(0)
        one.attached("a")
        one.come("heartbeat", sessions={"a": {"epoch": 1, "head_seq": 7}, "x": 3})
        await world.step()
        assert world.wire.behind == 7
        one.come("notice", session_id="a", epoch=1, seq=7, first_seq=1)
        await world.step()
        assert world.wire.behind == 0

    play(monkeypatch, act, Follow("a"))


def test_without_a_first_connection_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def open_link(server: Server) -> AsyncIterator[Link]:
        if server.key:
            raise LinkLostError("refused")
        yield Link(decode(b'{"type":"ready"}'))

    monkeypatch.setattr(module, "open_link", open_link)
    wire = Wire(lambda: Server("http://here", "key"), random.Random(1), Heard())
    with pytest.raises(LinkLostError, match="refused"):
        asyncio.run(wire.run())
