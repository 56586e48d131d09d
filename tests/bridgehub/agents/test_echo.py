"""The test agent does exactly what the contract's table says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from bridgehub.agents.echo import EchoDriver
from bridgehub.agents.request_words import RequestWords
from bridgehub.protocol.events import (
    AgentOffered,
    Consumed,
    HubEvent,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    TextPiece,
    TurnDone,
)
from bridgehub.protocol.messages import Decided, History, Prompt
from bridgehub.trust.finding import Findings


@attrs.define(eq=False)
class Record:
    """A sink that keeps what it gets, with the moment."""

    decision: str = "allow"
    events: list[HubEvent] = attrs.field(factory=list)
    offers: list[AgentOffered] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)
    asked: list[tuple[str, object]] = attrs.field(factory=list)
    on_emit: Callable[[], Awaitable[None]] | None = None
    ids: int = 0
    wanted_bytes: int = 0
    past: History = attrs.field(factory=lambda: History("", ()))
    memory: dict[str, Any] = attrs.field(factory=dict)

    async def emit(self, event: HubEvent) -> None:
        if isinstance(event, AgentOffered):
            self.offers.append(event)
            return
        self.events.append(event)
        self.times.append(trio.current_time())
        if self.on_emit is not None:
            await self.on_emit()

    async def ask(
        self,
        tool: str,
        tool_input: object,
        questions: object = None,
        *,
        grant: str | None = None,
        task_id: str | None = None,
        words: RequestWords | None = None,
    ) -> Decided:
        self.asked.append((tool, tool_input))
        await trio.lowlevel.checkpoint()
        return Decided("r", self.decision)  # type: ignore[arg-type]

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        raise AssertionError("an echo runs nothing of a folder")

    async def history(self, limit_bytes: int) -> History:
        self.wanted_bytes = limit_bytes
        await trio.lowlevel.checkpoint()
        return self.past

    async def tell_withdrawn(self) -> None:
        await trio.lowlevel.checkpoint()

    async def work_saved(self) -> None:
        await trio.lowlevel.checkpoint()

    async def remember(self, data: dict[str, Any]) -> None:
        self.memory = data
        await trio.lowlevel.checkpoint()

    def new_id(self) -> str:
        self.ids += 1
        return f"id{self.ids}"

    async def settle(self) -> None:
        await trio.lowlevel.checkpoint()

    async def corrupt(self, line: bytes) -> None:
        raise AssertionError("only /garbage garbles")

    @property
    def pieces(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, TextPiece)]

    @property
    def piece_times(self) -> list[float]:
        both = zip(self.events, self.times, strict=True)
        return [time for event, time in both if isinstance(event, TextPiece)]


async def play(content: str, sink: Record | None = None, taken_before: int = 0) -> Record:
    sink = sink or Record()
    driver = EchoDriver(clock_us=lambda: round(trio.current_time() * 1e6))
    end = await driver.run_turn(Prompt("t", "m", content, taken_before), sink)
    assert end == TurnDone("t")
    assert sink.events[0] == Consumed("t")
    assert len({event.block for event in sink.events if isinstance(event, TextPiece)}) <= 1
    return sink


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        ("good day", ["echo: ", "good ", "day "]),
        ("  a\n\tb  c\u00a0d ", ["echo: ", "a ", "b ", "c ", "d "]),
        ("", ["echo: "]),
        ("/words 3", ["w0 ", "w1 ", "w2 "]),
        ("/words 0", []),
        ("/words", ["echo: ", "/words "]),
        ("/words x", ["echo: ", "/words ", "x "]),
        ("/words 3 ", ["echo: ", "/words ", "3 "]),
        ("say /words 3", ["echo: ", "say ", "/words ", "3 "]),
        ("/big 5", ["xxxxx"]),
        ("/big 0", []),
        ("/turns", ["turns=5"]),
        ("/turns please", ["echo: ", "/turns ", "please "]),
        ("/hang on", ["echo: ", "/hang ", "on "]),
        ("/unknown", ["echo: ", "/unknown "]),
    ],
)
async def test_words_and_directives(content: str, pieces: list[str]) -> None:
    assert (await play(content, taken_before=4)).pieces == pieces


async def test_big_is_one_piece_up_to_the_limit_of_a_frame() -> None:
    limit = 256 * 1024
    assert [len(piece) for piece in (await play(f"/big {limit}")).pieces] == [limit]
    assert [len(piece) for piece in (await play(f"/big {2 * limit + 1}")).pieces] == [limit, limit, 1]


async def test_paced_pieces_leave_on_the_minute(autojump_clock: MockClock) -> None:
    sink = await play("/words 1000 2.5")
    start = sink.piece_times[0]
    for number, time in enumerate(sink.piece_times):
        assert time - start == pytest.approx(number * 0.0025, abs=1e-9)


async def test_a_slow_taker_does_not_shift_later_pieces(autojump_clock: MockClock) -> None:
    sink = Record()

    async def stall_once() -> None:
        if len(sink.events) == 3:
            await trio.sleep(0.35)

    sink.on_emit = stall_once
    await play("/words 10 100", sink)
    late = [round(time - sink.piece_times[0], 3) for time in sink.piece_times]
    assert late == [0, 0.1, 0.45, 0.45, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9]


async def test_clock_tells_when_each_piece_left(autojump_clock: MockClock) -> None:
    sink = await play("/clock 5 20")
    assert [int(piece) for piece in sink.pieces] == [round(time * 1e6) for time in sink.piece_times]
    assert all(piece.endswith(" ") for piece in sink.pieces)


@pytest.mark.parametrize(("decision", "answer"), [("allow", "allowed"), ("deny", "denied")])
async def test_ask(decision: str, answer: str) -> None:
    sink = await play("/ask may I, please", Record(decision))
    assert sink.asked == [("practice", {"text": "may I, please"})]
    assert sink.pieces == [answer]


async def test_task() -> None:
    sink = await play("/task Tidy up")
    began, *steps, ended, piece = sink.events[1:]
    assert isinstance(began, TaskBegan)
    assert (began.title, began.agent_type) == ("Tidy up", "echo")
    assert [type(step) for step in steps] == [TaskProgressed] * 3
    assert isinstance(ended, TaskEnded)
    assert ended.state == "succeeded"
    assert isinstance(piece, TextPiece)
    assert sink.pieces == ["done"]


@pytest.mark.parametrize("content", ["/hang", "/words 100000 1000"])
async def test_an_interrupt_ends_the_turn(content: str, autojump_clock: MockClock) -> None:
    driver, sink = EchoDriver(), Record()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run_turn, Prompt("t", "m", content, 0), sink)
        await trio.sleep(2.5)
        await driver.interrupt()
    assert trio.current_time() - start == 2.5
    assert len(sink.pieces) in (0, 3)
