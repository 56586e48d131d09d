"""Whatever happens to its links, a server that counts along gets each event once and in order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridgehub.outbox import BATCH_BYTES, MAX_PIECE_BYTES, EventTooLarge, Outbox
from bridgehub.protocol.codec import decode_from_hub, json_size
from bridgehub.protocol.events import (
    AgentMemory,
    Consumed,
    HubEvent,
    Noticed,
    PermissionAsked,
    PlanChanged,
    SettingsTold,
    TaskBegan,
    TextPiece,
    ToolBegan,
    ToolOutput,
    ToolsPrinted,
    TurnDone,
)
from bridgehub.protocol.limits import clip
from bridgehub.protocol.messages import Reported
from bridgehub.protocol.tool_events import MAX_OUTPUT_CHARS
from bridgehub.spool import Spool


def make_outbox(folder: Path, limit: int = 1 << 20, spool_limit: int = 1 << 26) -> Outbox:
    return Outbox(Spool(folder / "spool", spool_limit), limit)


def piece(text: str, block: str = "b", turn: str = "t") -> TextPiece:
    return TextPiece(turn, "text", block, text)


def decoded(data: bytes) -> list[Reported]:
    assert data.endswith(b"\n")
    messages = [decode_from_hub(line) for line in data[:-1].split(b"\n")]
    assert all(isinstance(message, Reported) for message in messages)
    return [message for message in messages if isinstance(message, Reported)]


async def test_pieces_that_wait_are_joined_and_keep_their_numbers(tmp_path: Path) -> None:
    box = make_outbox(tmp_path)
    box.attach(0)
    for event in (Consumed("t"), piece("a "), piece("b "), piece("c", block="other"), piece("d"), piece("e")):
        await box.put(event)
    assert decoded(await box.take()) == [
        Reported(1, 1, Consumed("t")),
        Reported(3, 2, piece("a b ")),
        Reported(4, 4, piece("c", block="other")),
        Reported(6, 5, piece("de")),
    ]


async def test_turn_and_channel_keep_pieces_apart(tmp_path: Path) -> None:
    box = make_outbox(tmp_path)
    await box.put(piece("a"))
    await box.put(piece("b", turn="u"))
    await box.put(TextPiece("u", "thinking", "b", "c"))
    box.attach(0)
    assert [item.seq for item in decoded(await box.take())] == [1, 2, 3]


async def test_a_line_that_was_taken_keeps_its_range(tmp_path: Path) -> None:
    box = make_outbox(tmp_path)
    box.attach(0)
    await box.put(piece("a"))
    await box.put(piece("b"))
    first = await box.take()
    await box.put(piece("c"))
    box.detach()
    box.attach(0)
    assert decoded(await box.take()) == [*decoded(first), Reported(3, 3, piece("c"))]
    box.detach()
    box.attach(2)
    assert decoded(await box.take()) == [Reported(3, 3, piece("c"))]


async def test_flat_out_one_line_carries_many_but_never_over_the_limit(tmp_path: Path) -> None:
    box = make_outbox(tmp_path, limit=1 << 24)
    box.attach(0)
    words = [f'w{number} "\n' for number in range(60_000)]
    for word in words:
        await box.put(piece(word))
    got: list[Reported] = []
    while not got or got[-1].seq < len(words):
        data = await box.take()
        assert len(data) <= BATCH_BYTES + 1000
        got += decoded(data)
    assert "".join(item.event.text for item in got if isinstance(item.event, TextPiece)) == "".join(words)
    assert len(got) < 20
    for item in got:
        assert isinstance(item.event, TextPiece)
        assert json_size(item.event.text) <= MAX_PIECE_BYTES


async def test_a_long_piece_is_cut_only_over_the_limit(tmp_path: Path) -> None:
    box = make_outbox(tmp_path, limit=1 << 24)
    await box.put(piece("x" * MAX_PIECE_BYTES))
    assert box.head_seq == 1
    await box.put(piece('"' * MAX_PIECE_BYTES, block="c"))
    assert box.head_seq == 3


async def test_an_event_over_a_line_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    box = make_outbox(tmp_path)
    with pytest.raises(EventTooLarge):
        await box.put(AgentMemory("t", {"all": "y" * (9 << 20)}))
    assert box.head_seq == 0


@pytest.mark.parametrize(
    "event",
    [
        ToolBegan("t", "i" * 4600, "n", "y" * (9 << 20)),
        ToolBegan("t", "i", "n", {"lone": "\ud800" * (3 << 20)}),
        TaskBegan("t", "k", "t" * (9 << 20), "a"),
        PlanChanged("t", ({"content": "p" * (9 << 20)}, {"content": 7})),
        PermissionAsked("t", "p", "n", {}, (), [{"question": "q" * (9 << 20)}]),
        SettingsTold(None, {"model": "m"}, "r" * (9 << 20)),
        ToolsPrinted("t", (ToolOutput("i" * 4600, "n" * 999, "\0" * (9 << 20), 2**70),) * 99),
        Noticed("t", "c" * 500, "x", attempt=2**70),
        TurnDone("t", input_tokens=2**70, output_tokens=-(2**70), cost_usd=float("inf")),
        TextPiece("t", "text", "b" * 4600, "x"),
    ],
    ids=lambda event: type(event).__name__,
)
async def test_what_an_agent_makes_too_long_is_cut_to_a_line(tmp_path: Path, event: HubEvent) -> None:
    box = make_outbox(tmp_path)
    box.attach(0)
    await box.put(event)
    (told,) = decoded(await box.take())
    assert type(told.event) is type(event)
    assert clip(told.event) == told.event


async def test_put_waits_for_a_server_that_does_not_acknowledge(tmp_path: Path) -> None:
    box = make_outbox(tmp_path, limit=10_000)
    box.attach(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put_numbers, box, 100)
        await wait_all_tasks_blocked()
        held = box.head_seq
        assert held < 100
        assert box.statistics().spool_bytes == 0
        got: list[Reported] = []
        while not got or got[-1].seq < 100:
            got += decoded(await box.take())
            box.ack(got[-1].seq)
            await wait_all_tasks_blocked()
    assert numbers(got) == list(range(100))


async def test_without_a_server_it_writes_a_file_until_that_is_full(tmp_path: Path) -> None:
    box = make_outbox(tmp_path, limit=10_000, spool_limit=50_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put_numbers, box, 1000)
        await wait_all_tasks_blocked()
        assert box.is_full
        assert 30_000 < (tmp_path / "spool").stat().st_size <= 50_000
        assert 100 < box.head_seq < 1000
        box.attach(0)
        got: list[Reported] = []
        while not got or got[-1].seq < 1000:
            got += decoded(await box.take())
            box.ack(got[-1].seq)
            await wait_all_tasks_blocked()
    assert numbers(got) == list(range(1000))
    assert (tmp_path / "spool").stat().st_size == 0
    assert box.statistics().unacknowledged == 0


async def test_a_cancelled_put_leaves_no_trace(tmp_path: Path) -> None:
    box = make_outbox(tmp_path, limit=1000, spool_limit=0)
    await put_numbers(box, 3)
    while not box.is_full:
        await put_numbers(box, 1)
    before = box.head_seq
    with trio.move_on_after(0):
        await put_numbers(box, 1)
    assert box.head_seq == before


async def test_what_is_left_is_everything_unacknowledged(tmp_path: Path) -> None:
    box = make_outbox(tmp_path, limit=10_000)
    await put_numbers(box, 300)
    await box.put(piece("the end"))
    box.leave(tmp_path / "left")
    got = decoded((tmp_path / "left").read_bytes())
    assert numbers(got[:300]) == list(range(300))
    assert got[300] == Reported(301, 301, piece("the end"))
    assert not (tmp_path / "spool").exists()


async def test_nothing_unacknowledged_leaves_no_file(tmp_path: Path) -> None:
    box = make_outbox(tmp_path)
    await put_numbers(box, 3)
    box.attach(0)
    await box.take()
    box.ack(3)
    box.leave(tmp_path / "left")
    assert not (tmp_path / "left").exists()


async def test_a_full_disk_makes_it_wait_like_a_full_spool(tmp_path: Path) -> None:
    box = make_outbox(tmp_path / "nowhere", limit=1000)
    with trio.move_on_after(0) as scope:
        await put_numbers(box, 100)
    assert scope.cancelled_caught
    box.attach(0)
    got = decoded(await box.take())
    assert numbers(got) == list(range(box.head_seq))


@pytest.mark.parametrize("seed", range(60))
async def test_random_disconnects_neither_lose_nor_double(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    box = make_outbox(tmp_path, limit=rng.choice([500, 3000, 1 << 20]))
    server = _Server(box, rng)
    sent: list[str] = []
    for _ in range(400):
        await server.step()
        if not (box.is_full and server.attached):
            for _ in range(rng.randrange(4)):
                if box.is_full and server.attached:
                    break
                sent.append(f"{len(sent)} ")
                await box.put(random_event(rng, sent[-1]))
    await server.drain()
    assert "".join(server.texts) == "".join(sent)
    assert server.position == len(sent) == box.head_seq
    assert box.statistics().unacknowledged == 0


class _Server:
    """Journals what it takes, or loses its link before or after that, or before the acknowledgement."""

    def __init__(self, box: Outbox, rng: random.Random) -> None:
        self.box, self.rng = box, rng
        self.attached = False
        self.position = 0
        self.texts: list[str] = []

    async def step(self) -> None:
        chance = self.rng.random()
        if not self.attached:
            if chance < 0.2:
                self.box.attach(self.position)
                self.attached = True
        elif chance < 0.1:
            self.lose()
        elif chance < 0.7:
            await self.take()

    async def take(self) -> None:
        with trio.move_on_after(0):
            data = await self.box.take()
            items = decoded(data)
            if self.rng.random() < 0.2:
                self.journal(items[: self.rng.randrange(len(items) + 1)])
                self.lose()
                return
            self.journal(items)
            if self.rng.random() < 0.6:
                self.box.ack(self.position)

    async def drain(self) -> None:
        if self.attached:
            self.lose()
        self.box.attach(self.position)
        while self.position < self.box.head_seq:
            self.journal(decoded(await self.box.take()))
        self.box.ack(self.position)

    def journal(self, items: list[Reported]) -> None:
        for item in items:
            assert item.first_seq == self.position + 1
            self.position = item.seq
            assert isinstance(item.event, TextPiece | Noticed)
            self.texts.append(item.event.text if isinstance(item.event, TextPiece) else item.event.content)

    def lose(self) -> None:
        self.box.detach()
        self.attached = False


def random_event(rng: random.Random, text: str) -> HubEvent:
    if rng.random() < 0.2:
        return Noticed("t", "n", text)
    return piece(text, block=rng.choice("aab"))


async def put_numbers(box: Outbox, count: int) -> None:
    for number in range(count):
        await box.put(Noticed("t", "n", str(number)))


def numbers(items: list[Reported]) -> list[int]:
    return [int(item.event.content) for item in items if isinstance(item.event, Noticed)]


async def test_each_link_gets_the_output_of_the_tools_that_run(tmp_path: Path) -> None:
    box = make_outbox(tmp_path)
    box.attach(0)
    printed = ToolsPrinted("t", (ToolOutput("a", "execute", "one"),))
    box.put_newest_nowait(printed)
    (told,) = decoded(await box.take())
    box.ack(told.seq)
    box.detach()
    box.attach(told.seq)
    assert [item.event for item in decoded(await box.take())] == [printed]
    box.put_newest_nowait(ToolsPrinted("t", ()))
    (last,) = decoded(await box.take())
    box.attach(last.seq)
    await box.put(Consumed("t"))
    assert [item.event for item in decoded(await box.take())] == [Consumed("t")]


def test_of_a_running_tools_output_the_newest_part_is_kept() -> None:
    told = clip(ToolsPrinted("t", (ToolOutput("a", "execute", "x" * MAX_OUTPUT_CHARS + "end", 7),)))
    assert isinstance(told, ToolsPrinted)
    (one,) = told.outputs
    assert (one.offset, len(one.output), one.output[-4:]) == (10, MAX_OUTPUT_CHARS, "xend")
