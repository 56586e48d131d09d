"""Messages of the person that go into a running turn, with the real program: when they count as taken."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from bridgehub.protocol.events import (
    Consumed,
    SteerLost,
    SteerRefused,
    SteerTaken,
    TextPiece,
    TurnDone,
    TurnFailed,
    TurnStopped,
)
from bridgehub.protocol.messages import InterruptTurn, Prompt, Steer
from tests.bridgehub.claude_hub import open_claude_hub
from tests.bridgehub.hub_harness import Reader, text_of
from tests.standin.replies import Answer, Text, ToolUse
from tests.standin.rig import (
    SDK_DROPS_GENERATORS,
    ClaudeRig,
    eventually,
    open_rig,
    program_pids,
)

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)

WORDS = "MARKER-STEERED"


async def begin(reader: Reader, turn_id: str) -> None:
    """Send a prompt; return once its answer has begun."""
    await reader.link.send(Prompt(turn_id, f"m-{turn_id}", turn_id, 0))
    await reader.read_until(TextPiece)


async def test_a_steered_message_is_taken_an_interrupted_one_not(tmp_path: Path) -> None:
    async with (
        open_rig(tmp_path) as rig,
        open_claude_hub(rig, tmp_path, permission_mode="bypassPermissions") as hub,
    ):
        reader = await hub.reader()

        # With the next tool call's result, in the same turn.
        gate = trio.Event()
        echo = ToolUse("Bash", {"command": "echo hi", "description": "x"})
        rig.standin.script(Answer.of("a ", Text.of(gate), echo), Answer.of("b"))
        await begin(reader, "one")
        assert hub.hub.turns.can_steer
        await reader.link.send(Steer("one", "s1", WORDS))
        await wait_queued(rig)
        gate.set()
        told = [item.event for item in await reader.read_until(TurnDone)]
        assert told.count(SteerTaken("one", "s1")) == 1
        assert len(rig.standin.requests) == 2
        assert WORDS in rig.standin.requests[1].markers
        assert rig.standin.requests[1].tool_results == ("hi",)
        assert text_of(reader.events) == "a b"

        # Where no tool call is left: in one more round, before the turn's end.
        gate = trio.Event()
        rig.standin.script(Answer.of(Text.of("c ", gate, "d ")), Answer.of("e"))
        await begin(reader, "two")
        await reader.link.send(Steer("two", "s2", "and more"))
        await wait_queued(rig)
        gate.set()
        events = await reader.read_until(TurnDone)
        kinds = [type(item.event) for item in events]
        assert kinds.count(SteerTaken) == 1
        assert Consumed not in kinds
        assert text_of(events) == "d e"
        assert rig.standin.requests[-1].user_texts[-1] == "and more"

        # Stopped before it was taken: the program never runs it.
        rig.standin.script(Answer.of(Text.of("f ", trio.Event())))
        await begin(reader, "three")
        await reader.link.send(Steer("three", "s3", "MARKER-NEVER"))
        await wait_queued(rig)
        await reader.link.send(InterruptTurn("three"))
        told = [item.event for item in await reader.read_until(TurnStopped)]
        assert told.count(SteerRefused("three", "s3")) == 1
        assert (await reader.turn("four", "four", 3))[-1].event.turn_id == "four"
        assert "MARKER-NEVER" not in rig.standin.requests[-1].markers
        assert [seen.user_texts[-1] for seen in rig.standin.requests[-2:]] == ["three", "four"]


async def test_a_message_that_a_dying_program_read_is_lost(tmp_path: Path) -> None:
    """Refused it would be sent once more by itself. The resumed program does not know this one."""
    async with open_rig(tmp_path) as rig, open_claude_hub(rig, tmp_path) as hub:
        reader = await hub.reader()
        rig.standin.script(Answer.of(Text.of("a ", trio.Event())))
        await begin(reader, "one")
        await reader.link.send(Steer("one", "s1", WORDS))
        await wait_queued(rig)
        (pid,) = program_pids(rig.agent_session_id)
        os.kill(pid, signal.SIGKILL)
        told = [item.event for item in await reader.read_until(TurnFailed)]
        assert told[-2] == SteerLost("one", "s1")
        await reader.turn("two", "two", 1)
        assert rig.standin.requests[-1].user_texts == ("one", "two")
        assert all(WORDS not in seen.markers for seen in rig.standin.requests)


async def test_a_message_waits_for_the_programs_start(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        gate = trio.Event()
        rig.standin.script(Answer.of(Text.of("a ", gate)), Answer.of("b"))
        driver, taken = rig.driver(), list[bool]()

        async def steer() -> None:
            taken.append(await driver.steer(Steer("turn-1", "s1", WORDS)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(steer)
            nursery.start_soon(rig.turn, driver, "one")
            await wait_queued(rig)
            gate.set()
        assert taken == [True]
        assert WORDS in rig.standin.requests[-1].markers


async def wait_queued(rig: ClaudeRig) -> None:
    """Wait until the program has the steered message in its queue: it reads one line after the other."""
    await eventually(lambda: bool((session := rig.drivers[-1]._session) and session._steers.waiting))
    session = rig.drivers[-1]._session
    assert session is not None
    with trio.fail_after(40):
        await session._client.get_context_usage()
