"""Each device sees every event once and in order, whatever attaches, paces or lags, at random times."""

from __future__ import annotations

import random

import pytest
import trio

from actors.events.codec import decode_row
from actors.events.committed import Event
from actors.events.conversation import Complete, Delivery, Message, TurnStarted, UserMessage
from tests.fakes.bus import FakeSession
from tests.transport.client import Client, open_server

DEVICES = 4
TURNS = 12


async def talk(session: FakeSession, rng: random.Random) -> None:
    """Publish turns in batches of random size, some of them larger than the tail."""
    for number in range(TURNS):
        name = f"m{number}"
        events: list[Event] = [UserMessage(name, "hi"), TurnStarted(name), Delivery(name, "handed")]
        offset = 0
        for _ in range(rng.randrange(60)):
            word = "x" * rng.choice([1, 5, 2_000, 40_000])
            events.append(Message(word, "b", offset))
            offset += len(word)
        events.append(Complete(2, offset, "00"))
        while events:
            size = rng.randrange(1, 20)
            session.publish(*events[:size])
            del events[:size]
            await trio.lowlevel.checkpoint()


class Follower:
    """A device that keeps the text as the contract says, and checks each frame against its position."""

    def __init__(self, client: Client, rng: random.Random) -> None:
        self.client = client
        self.rng = rng
        self.position = 0
        self.texts: dict[str, str] = {}

    async def run(self, session: FakeSession, done: trio.Event) -> None:
        await self.attach()
        while not (done.is_set() and self.position == session.head_seq):
            if self.rng.random() < 0.02:
                await self.attach()
            self.take(await self.client.receive())

    async def attach(self) -> None:
        await self.client.send(
            type="attach",
            session_id="trip",
            after={"epoch": 1, "seq": self.position},
            pace_ms=self.rng.choice([0, 0, 20]),
        )
        while True:
            frame = await self.client.receive()
            if frame["type"] == "attached":
                break
            self.take(frame)
        # What came meanwhile was for the old attachment; this one starts where we asked it to.
        if frame["from_seq"] <= self.position:
            self.position = frame["from_seq"] - 1

    def take(self, frame: dict[str, object]) -> None:
        seq, first = frame.get("seq"), frame.get("first_seq")
        if not isinstance(seq, int) or not isinstance(first, int):
            return
        assert first <= self.position + 1 <= seq, (self.position, frame["type"], first, seq)
        self.position = seq
        if frame["type"] == "message":
            turn, offset, content = str(frame["turn_id"]), frame["offset"], str(frame["content"])
            assert isinstance(offset, int)
            self.texts[turn] = self.texts.get(turn, "")[:offset] + content


@pytest.mark.parametrize("seed", range(4))
async def test_no_gap_and_nothing_twice(seed: int) -> None:
    rng = random.Random(seed)
    async with open_server() as served, trio.open_nursery() as clients:
        session = served.fakes.add_session("trip")
        done = trio.Event()
        followers: list[Follower] = []

        async def follow() -> None:
            async with served.client() as client:
                follower = Follower(client, random.Random(rng.random()))
                followers.append(follower)
                await follower.run(session, done)

        for _ in range(DEVICES):
            clients.start_soon(follow)
        while len(session.tail.devices) < DEVICES:
            await trio.lowlevel.checkpoint()
        await talk(session, rng)
        done.set()
        session.publish(Message("end", "b", 0))
    whole: dict[str, str] = {}
    for item in map(decode_row, session.rows):
        if isinstance(item.event, Message):
            whole[str(item.turn_id)] = whole.get(str(item.turn_id), "") + item.event.content
    for follower in followers:
        assert follower.texts == whole
