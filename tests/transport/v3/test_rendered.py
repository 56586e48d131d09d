"""Finished answers as HTML: frames `rendered`, and `?format=html`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import httpx
import trio
import trio.testing

from actors.events.conversation import (
    Complete,
    Delivery,
    Interrupted,
    Message,
    TurnError,
    TurnStarted,
    UserMessage,
)
from storage.errors import StorageUnavailable
from tests.fakes.bus import FakeSession
from tests.transport.client import Client, open_server
from transport.rendering.protocol import Block
from transport.v3.rendered import MAX_HELD

LONG = 600 * 1024


@attrs.define(eq=False)
class Loud:
    """Renders by capitals. Waits before each while `hold` is set; knows what it was asked."""

    asked: list[list[Block]] = attrs.field(factory=list)
    hold: trio.Event | None = None

    async def render(self, blocks: Sequence[Block]) -> str | None:
        await trio.lowlevel.checkpoint()
        self.asked.append(list(blocks))
        if self.hold is not None:
            await self.hold.wait()
        text = "|".join(text for _, text in blocks)
        if text.startswith("long"):
            return "L" * LONG
        return None if text.startswith("none") else text.upper()


def turn(session: FakeSession, *pieces: str, end: Any = None) -> str:
    """Publish a turn, a block for each piece; return its id."""
    name = f"m{session.head_seq}"
    session.publish(UserMessage(name, "hi"), device_id="phone")
    (started,) = session.publish(TurnStarted(name))
    for number, piece in enumerate(pieces):
        middle = len(piece) // 2
        session.publish(Message(piece[:middle], f"b{number}", 0))
        session.publish(Message(piece[middle:], f"b{number}", middle))
    session.publish(Delivery(name, "answered"), end or Complete(2, 0, "00"))
    assert started.turn_id is not None
    return started.turn_id


async def until_end(client: Client) -> None:
    await client.receive("complete", "error", "interrupted")


async def test_a_finished_answer_follows_its_end() -> None:
    renderer = Loud()
    async with open_server(renderer=renderer) as served, served.client() as one, served.client() as plain:
        session = served.fakes.add_session("trip")
        await one.attach("trip", html=True)
        await plain.attach("trip")
        name = turn(session, "some", "text")
        await until_end(one)
        frame = await one.receive()
        assert frame["type"] == "rendered"
        assert (frame["session_id"], frame["turn_id"], frame["html"]) == ("trip", name, "SOME|TEXT")
        assert "seq" not in frame
        await until_end(plain)
        await plain.send(type="ping")
        assert (await plain.receive())["type"] == "pong"
    assert renderer.asked == [[("b0", "some"), ("b1", "text")]]


async def test_an_answer_that_broke_off_is_rendered_too() -> None:
    async with open_server(renderer=Loud()) as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.attach("trip", html=True)
        for end in (Interrupted("phone"), TurnError("model_error", "no", retryable=True)):
            name = turn(session, "half", end=end)
            frame = await one.receive("rendered")
            assert (frame["turn_id"], frame["html"]) == (name, "HALF")


async def test_what_has_no_rendering_has_no_frame() -> None:
    async with open_server(renderer=Loud()) as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.attach("trip", html=True)
        turn(session)
        turn(session, "none at all")
        turn(session, "long")
        last = turn(session, "last")
        assert (await one.receive("rendered"))["turn_id"] == last


async def test_one_rendering_for_all_devices() -> None:
    renderer = Loud(hold=trio.Event())
    async with open_server(renderer=renderer) as served, served.client() as one, served.client() as two:
        session = served.fakes.add_session("trip")
        for client in (one, two):
            await client.attach("trip", html=True)
        turn(session, "text")
        for client in (one, two):
            await until_end(client)
        assert renderer.hold is not None
        renderer.hold.set()
        for client in (one, two):
            assert (await client.receive("rendered"))["html"] == "TEXT"
    assert len(renderer.asked) == 1


async def test_missed_answers_are_rendered_and_a_snapshots_past_not() -> None:
    renderer = Loud()
    async with open_server(renderer=renderer) as served, served.client() as one:
        session = served.fakes.add_session("trip")
        turn(session, "first")
        seen = session.head_seq
        missed = turn(session, "missed")
        await one.attach("trip", html=True)
        live = turn(session, "live")
        assert (await one.receive("rendered"))["turn_id"] == live
        await one.attach("trip", html=True, after={"epoch": 1, "seq": seen})
        frames = [await one.receive("rendered"), await one.receive("rendered")]
        assert [frame["turn_id"] for frame in frames] == [missed, live]
    assert [("b0", "first")] not in renderer.asked


async def test_nothing_comes_after_a_detach() -> None:
    renderer = Loud(hold=trio.Event())
    async with open_server(renderer=renderer) as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.attach("trip", html=True)
        turn(session, "text")
        await until_end(one)
        await one.send(type="detach", session_id="trip")
        await one.receive("detached")
        assert renderer.hold is not None
        renderer.hold.set()
        renderer.hold = None
        await one.attach("trip", html=True)
        later = turn(session, "later")
        assert (await one.receive("rendered"))["turn_id"] == later


async def test_a_journal_that_cannot_be_read_costs_one_rendering() -> None:
    async with open_server(renderer=Loud()) as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.attach("trip", html=True)
        served.fakes.read_error = StorageUnavailable("disk")
        turn(session, "lost")
        await until_end(one)
        await trio.testing.wait_all_tasks_blocked()
        served.fakes.read_error = None
        name = turn(session, "kept")
        frame = await one.receive("rendered")
        assert frame["turn_id"] == name


async def test_a_burst_of_turns_holds_few_frames() -> None:
    renderer = Loud(hold=trio.Event())
    async with open_server(renderer=renderer) as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.attach("trip", html=True)
        names = [turn(session, f"t{number}") for number in range(3 * MAX_HELD)]
        assert renderer.hold is not None
        renderer.hold.set()
        seen: list[str] = []
        while not seen or seen[-1] != names[-1]:
            seen.append((await one.receive("rendered"))["turn_id"])
        assert seen == [name for name in names if name in seen]


async def test_messages_as_html() -> None:
    async with open_server(renderer=Loud()) as served:
        session = served.fakes.add_session("trip")
        turn(session, "one", "two")
        turn(session, "none at all")
        turn(session)
        headers = {"X-API-Key": "key-of-phone"}
        async with httpx.AsyncClient(base_url=served.base, headers=headers) as http:
            url = "/api/sessions/trip/messages"
            plain = (await http.get(url)).json()["messages"]
            body = (await http.get(url, params={"format": "html"})).json()["messages"]
            last = (await http.get(url, params={"format": "html", "before_seq": 9999})).json()["messages"]
        told = [(entry["role"], entry.get("html")) for entry in body]
        assert told == [
            ("user", "HI"),
            ("assistant", "ONE|TWO"),
            ("user", "HI"),
            ("assistant", None),
            ("user", "HI"),
            ("assistant", ""),
        ]
        assert last == body
        for entry in body:
            entry.pop("html", None)
        assert body == plain
        assert all("html" not in entry for entry in plain)


async def test_a_page_has_room_for_the_newest() -> None:
    async with open_server(renderer=Loud()) as served:
        session = served.fakes.add_session("trip")
        for _ in range(10):
            turn(session, "long")
        headers = {"X-API-Key": "key-of-phone"}
        async with httpx.AsyncClient(base_url=served.base, headers=headers) as http:
            body = (await http.get("/api/sessions/trip/messages?format=html")).json()["messages"]
        told = ["html" in entry for entry in body if entry["role"] == "assistant"]
        assert told == [False] * 4 + [True] * 6
