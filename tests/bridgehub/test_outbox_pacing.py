"""When events leave: at once, with their neighbours, or gathered; and that none is lost, doubled or out of order."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bridgehub.outbox import CLOSE_S, MAX_GATHER_S, Outbox
from bridgehub.protocol.codec import decode_from_hub
from bridgehub.protocol.events import HubEvent, Noticed, TextPiece
from bridgehub.protocol.messages import Reported
from bridgehub.spool import Spool


def piece(text: str) -> TextPiece:
    return TextPiece("t", "text", "b", text)


@attrs.define(eq=False)
class Link:
    """A link with its task, and what its server has read. `most`: bytes that its socket takes at once."""

    box: Outbox
    most: int = 1 << 20
    data: bytes = b""
    by_task: int = 0

    def write_nowait(self, data: bytes) -> int:
        taken = data[: self.most]
        self.data += taken
        return len(taken)

    async def run(self) -> None:
        while True:
            data = await self.box.take()
            self.by_task += 1
            await trio.lowlevel.checkpoint()
            self.data += data

    @property
    def items(self) -> list[Reported]:
        """What came whole."""
        lines = self.data.split(b"\n")[:-1]
        return [item for item in map(decode_from_hub, lines) if isinstance(item, Reported)]

    @property
    def texts(self) -> list[str]:
        return [text_of(item.event) for item in self.items]


def text_of(event: HubEvent) -> str:
    assert isinstance(event, TextPiece | Noticed)
    return event.text if isinstance(event, TextPiece) else event.content


@asynccontextmanager
async def linked(folder: Path, most: int = 1 << 20) -> AsyncIterator[Link]:
    box = Outbox(Spool(folder / "spool"))
    link = Link(box, most)
    box.attach(0, link.write_nowait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await wait_all_tasks_blocked()
        yield link
        nursery.cancel_scope.cancel(reason="test done")


async def test_at_a_persons_pace_a_piece_is_written_as_it_is_put(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with linked(tmp_path) as link:
        for word in ("a", "b"):
            await link.box.put(piece(word))
            assert link.texts[-1] == word
            await trio.sleep(2 * CLOSE_S)
        assert link.by_task == 0


async def test_pieces_that_follow_closely_are_joined_by_the_task(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with linked(tmp_path) as link:
        for word in "abc":
            await link.box.put(piece(word))
        await wait_all_tasks_blocked()
        assert link.texts == ["a", "bc"]


async def test_what_the_socket_does_not_take_at_once_follows(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with linked(tmp_path, most=10) as link:
        await link.box.put(piece("long"))
        await link.box.put(piece("er"))
        await wait_all_tasks_blocked()
        assert link.texts == ["long", "er"]


async def test_while_the_server_is_busy_pieces_gather(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with linked(tmp_path) as link:
        await link.box.put(piece("a"))
        link.box.gather_s = MAX_GATHER_S
        for word in "bcd":
            await link.box.put(piece(word))
            await trio.sleep(MAX_GATHER_S / 4)
        assert link.texts == ["a"]
        await trio.sleep(MAX_GATHER_S / 2)
        assert link.texts == ["a", "bcd"]


async def test_anything_but_a_piece_takes_what_gathers_along(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with linked(tmp_path) as link:
        await link.box.put(piece("a"))
        link.box.gather_s = MAX_GATHER_S
        await link.box.put(piece("b"))
        await wait_all_tasks_blocked()
        await link.box.put(Noticed("t", "n", "now"))
        await wait_all_tasks_blocked()
        assert link.texts == ["a", "b", "now"]


async def test_a_link_that_ends_as_pieces_gather_leaves_the_next_awake(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with linked(tmp_path) as first:
        box = first.box
        await box.put(piece("a"))
        box.gather_s = MAX_GATHER_S
        await box.put(piece("b"))
        await wait_all_tasks_blocked()
    box.detach()
    box.attach(1)
    async with trio.open_nursery() as nursery:
        second = Link(box)
        nursery.start_soon(second.run)
        await wait_all_tasks_blocked()
        for word in "cd":
            await box.put(piece(word))
            await wait_all_tasks_blocked()
        assert second.texts == ["b", "c", "d"]
        nursery.cancel_scope.cancel(reason="test done")


@pytest.mark.parametrize("seed", range(20))
async def test_random_links_neither_lose_nor_double(
    tmp_path: Path, autojump_clock: MockClock, seed: int
) -> None:
    rng = random.Random(seed)
    box = Outbox(Spool(tmp_path / "spool"))
    sent: list[str] = []
    got: list[str] = []
    position = 0
    while position < 300:
        link = Link(box, most=rng.choice([0, 7, 150, 1 << 20]))
        box.attach(position, link.write_nowait)
        box.gather_s = rng.choice([0.0, 0.001, MAX_GATHER_S])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            for _ in range(rng.randrange(40)):
                sent.append(f"{len(sent)} ")
                await box.put(Noticed("t", "n", sent[-1]) if rng.random() < 0.2 else piece(sent[-1]))
                await trio.sleep(rng.choice([0, 0, 0.0005, 0.003, 0.05]))
            nursery.cancel_scope.cancel(reason="the link broke")
        box.detach()
        for item in link.items:
            if rng.random() < 0.05:
                break  # the server ended before it had journalled this
            assert item.first_seq == position + 1
            position = item.seq
            got.append(text_of(item.event))
    assert "".join(got) == "".join(sent)[: len("".join(got))]
    assert box.head_seq == len(sent)
