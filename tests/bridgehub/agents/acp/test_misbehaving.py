"""An agent of the ACP that misbehaves: each turn has one clear end, and the next message works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from bridgehub.agents.acp.translate import MAX_OPEN
from bridgehub.agents.json_rpc import wires
from bridgehub.protocol.events import TextPiece, ToolBegan, ToolEnded, TurnDone, TurnFailed
from tests.standin.acp_rig import AcpSink, deciding, open_acp_rig
from tests.standin.rig import eventually


@pytest.mark.parametrize(
    "line",
    [
        "no JSON at all",
        "[]",
        "12",
        "null",
        '{"jsonrpc":"2.0"}',
        '{"jsonrpc":"2.0","id":{},"method":"x"}',
        '{"jsonrpc":"2.0","id":null,"result":{}}',
        '{"jsonrpc":"2.0","id":"unknown","result":{}}',
        '{"jsonrpc":"2.0","method":12}',
        '{"jsonrpc":"2.0","id":[1],"error":{}}',
        "\x00\x01",
        '{"a":' * 3000,
    ],
)
async def test_nonsense_ends_the_turn_as_agent_protocol(tmp_path: Path, line: str) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        end, _ = await rig.turn(driver, f"raw {line}")
        assert isinstance(end, TurnFailed)
        assert end.code == "agent_protocol"
        after, sink = await rig.turn(driver, "hello")
        assert isinstance(after, TurnDone)
        assert sink.text() == "you said hello (2)"


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc":"2.0","method":"session/update"}',
        '{"jsonrpc":"2.0","method":"session/update","params":[1]}',
        '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":1,"update":[]}}',
        '{"jsonrpc":"2.0","id":3000,"result":null}',
        '{"jsonrpc":"2.0","id":3000,"error":"text"}',
        '{"method":"no version"}',
    ],
)
async def test_what_means_nothing_is_ignored(tmp_path: Path, line: str) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, _ = await rig.turn(rig.driver(), f"raw {line}")
        assert isinstance(end, TurnDone)


TOOL = {
    "sessionUpdate": "tool_call",
    "toolCallId": "a",
    "title": "x",
    "kind": "execute",
    "status": "in_progress",
}


@pytest.mark.parametrize(
    ("updates", "count"),
    [
        ([{**TOOL, "content": "no list"}], 1),
        ([{**TOOL, "content": [1, None, [], {"type": 5}, {"type": "diff"}, {"type": "content"}]}], 1),
        ([{**TOOL, "content": [{"type": "terminal", "terminalId": "no such"}]}], 1),
        ([{**TOOL, "content": [{"type": "terminal", "terminalId": {}}]}, {**TOOL, "status": 7}], 1),
        ([{**TOOL, "content": [{"type": "diff", "path": "/", "oldText": 1, "newText": "\ud800"}]}], 1),
        ([{**TOOL, "status": "completed"}, {**TOOL, "status": "completed"}, TOOL], 1),
        ([TOOL, TOOL, TOOL], 1),
        ([{**TOOL, "toolCallId": ""}, {**TOOL, "toolCallId": 12}], 0),
        ([{**TOOL, "toolCallId": "i" * 100_000, "title": "t" * 100_000, "kind": "k" * 100_000}], 1),
        ([{**TOOL, "locations": [{"path": "p" * 9999}] * 999, "rawInput": [[[[]]]]}], 1),
        ([{"sessionUpdate": "plan", "entries": [1, {"content": 2}]}, {"sessionUpdate": "usage_update"}], 0),
        ([{"sessionUpdate": "current_mode_update", "currentModeId": "nobody knows it"}], 0),
        ([{"sessionUpdate": "config_option_update", "configOptions": {}}, {"sessionUpdate": []}], 0),
    ],
)
async def test_updates_that_are_wrong_inside_end_nothing(
    tmp_path: Path, updates: list[dict[str, Any]], count: int
) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(), f"updates {json.dumps(updates)}")
        assert isinstance(end, TurnDone)
        assert len(sink.of(ToolBegan)) == len(sink.of(ToolEnded)) == count


async def test_another_version_of_the_protocol_is_told(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, _ = await rig.turn(rig.driver({"version": 2}), "hello")
        assert isinstance(end, TurnFailed)
        assert end.code == "agent_protocol"
        assert "version 2" in end.content


async def test_a_line_of_561_kilobytes_is_whole_in_pieces(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(), "long 561000")
        assert isinstance(end, TurnDone)
        assert sink.text() == "x" * 561_000
        assert max(len(piece.text) for piece in sink.of(TextPiece)) <= 256 * 1024


async def test_a_line_over_the_bound_ends_the_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "MAX_MESSAGE_BYTES", 100_000)
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        end, _ = await rig.turn(driver, "long 561000")
        assert isinstance(end, TurnFailed)
        assert (end.code, "100000 bytes" in end.content) == ("agent_protocol", True)
        assert isinstance((await rig.turn(driver, "hello"))[0], TurnDone)


async def test_a_flood_of_updates_comes_whole_in_few_pieces(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(), "flood 100000")
        assert isinstance(end, TurnDone)
        assert sink.text() == "".join(f"{number} " for number in range(100_000))
        assert len(sink.of(TextPiece)) < 20_000


async def test_updates_of_tools_never_announced_are_tools_that_ended(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(), "strange 500")
        assert isinstance(end, TurnDone)
        assert len(sink.of(ToolBegan)) == len(sink.of(ToolEnded)) == 500


async def test_tools_that_never_end_are_bounded_and_end_with_the_turn(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), f"open {MAX_OPEN + 50}")
        assert len(sink.of(ToolBegan)) == MAX_OPEN
        assert {one.is_error for one in sink.of(ToolEnded)} == {True}
        assert len(sink.of(ToolEnded)) == MAX_OPEN


async def test_requests_over_the_bound_are_answered_cancelled(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        sink = AcpSink()
        end = await rig.interrupted(rig.driver(), "ask_all 100", sink, lambda seen: len(sink.asked) >= 60)
        assert isinstance(end, TurnDone)
        assert orjson.loads(sink.text()) == ["cancelled"] * 100


async def test_another_session_and_unknown_words_are_left_alone(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(), "others", deciding("allow"))
        assert isinstance(end, TurnDone)
        assert sink.text() == "-32601 cancelled"
        assert sink.asked == []


async def test_answers_to_what_was_not_asked_end_nothing(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "twice")
        assert sink.text() == "still here"


async def test_a_program_that_died_between_turns_is_replaced(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        await rig.turn(driver, "one")
        (process,) = psutil.Process().children()
        process.kill()
        await eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
        end, sink = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)
        assert sink.text() == "you said two (2)"
