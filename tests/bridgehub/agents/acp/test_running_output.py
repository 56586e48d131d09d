"""What a command prints is reported while it runs, and is kept if its end never comes."""

from __future__ import annotations

from pathlib import Path

import psutil
import trio

from bridgehub.agents.acp.tools import ToolCall
from bridgehub.agents.acp.translate import Translator
from bridgehub.agents.base import TurnEnd
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.protocol.events import ToolBegan, ToolEnded, ToolOutput, ToolsPrinted, TurnDone, TurnFailed
from bridgehub.protocol.tool_events import MAX_OUTPUT_CHARS
from tests.standin.acp_rig import AcpRig, AcpSink, deciding, open_acp_rig
from tests.standin.rig import RecordingSink

COMMAND = (
    """shell echo one; until [ -e go ]; do sleep 0.02; done; echo two; until [ -e on ]; do sleep 0.02; done"""
)


def printed(sink: RecordingSink) -> str:
    """Return the newest output of the one tool that runs, empty if there is none."""
    event = sink.newest.get(ToolsPrinted)
    assert event is None or isinstance(event, ToolsPrinted)
    return "".join(one.output for one in event.outputs) if event is not None else ""


async def test_a_terminals_output_is_seen_growing(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        sink, ends = deciding("allow"), []

        async def run() -> None:
            ends.append((await rig.turn(rig.driver(), COMMAND, sink))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await sink.until(lambda seen: printed(seen) == "one\n")
            (began,) = sink.of(ToolBegan)
            assert sink.newest[ToolsPrinted] == ToolsPrinted(
                "turn-1", (ToolOutput(began.tool_id, "execute", "one\n"),)
            )
            (rig.workspace / "go").touch()
            await sink.until(lambda seen: printed(seen) == "one\ntwo\n")
            assert sink.of(ToolEnded) == []
            (rig.workspace / "on").touch()
        assert isinstance(ends[0], TurnDone)
        assert [one.output for one in sink.of(ToolEnded)] == ["one\ntwo\n"]
        assert printed(sink) == ""  # it runs no more


async def begin(rig: AcpRig, nursery: trio.Nursery, sink: AcpSink) -> list[TurnEnd]:
    """Begin a turn whose command has printed something and still runs."""
    ends: list[TurnEnd] = []
    driver = rig.driver()

    async def run() -> None:
        ends.append((await rig.turn(driver, COMMAND, sink))[0])

    nursery.start_soon(run)
    await sink.until(lambda seen: printed(seen) == "one\n")
    return ends


async def test_what_was_printed_stays_if_the_agent_dies(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        sink = deciding("allow")
        async with trio.open_nursery() as nursery:
            ends = await begin(rig, nursery, sink)
            for child in psutil.Process().children():
                child.kill()
        assert isinstance(ends[0], TurnFailed)
        (ended,) = sink.of(ToolEnded)
        assert (ended.output, ended.is_error) == ("one\n\nIt was cut off with the turn.", True)


async def test_what_was_printed_stays_after_an_interrupt(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        sink = deciding("allow")
        async with trio.open_nursery() as nursery:
            await begin(rig, nursery, sink)
            await rig.drivers[0].interrupt()
        (ended,) = sink.of(ToolEnded)
        assert ended.output.startswith("one\n")


def test_of_a_long_output_the_newest_part_is_told() -> None:
    tool = ToolCall("call", kind="execute")
    tool.take(Fields({"content": [{"type": "terminal", "terminalId": "t"}]}))
    assert tool.printed(lambda terminal_id: (5, "é" * MAX_OUTPUT_CHARS)) == ToolOutput(
        "call", "execute", "é" * MAX_OUTPUT_CHARS, 5
    )
    assert tool.printed(lambda terminal_id: (0, "")) is None
    text = {"type": "content", "content": {"type": "text", "text": "said"}}
    tool.take(Fields({"content": [text, {"type": "terminal", "terminalId": "t"}]}))
    assert tool.printed(lambda terminal_id: (0, "more")) == ToolOutput("call", "execute", "said\nmore")
    assert tool.printed(lambda terminal_id: (7, "more")) == ToolOutput("call", "execute", "more", 12)
    long = {"type": "content", "content": {"type": "text", "text": "x" * 100_000 + "end"}}
    tool.take(Fields({"content": [long]}))
    tool.trim()
    told = tool.printed(lambda terminal_id: (0, ""))
    assert told is not None
    assert (told.offset + len(told.output), told.output[-4:]) == (100_003, "xend")


def test_text_that_is_reported_of_a_running_call_is_its_output() -> None:
    translator = Translator("t", "p")
    call = {"sessionUpdate": "tool_call", "toolCallId": "a", "kind": "execute", "status": "in_progress"}
    for said in ("one", "one\ntwo"):
        content = [{"type": "content", "content": {"type": "text", "text": said}}]
        list(translator.translate(Fields({**call, "content": content}), 0.0))
        (told,) = translator.printed(lambda terminal_id: (0, "")).outputs
        assert told.output == said
    list(translator.translate(Fields({**call, "status": "completed"}), 0.0))
    assert translator.printed(lambda terminal_id: (0, "")).outputs == ()
