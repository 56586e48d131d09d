"""Agents that the real Codex starts by itself: tasks of the turn, in both of its ways to start them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from bridgehub.agents.codex.driver import CodexDriver
from bridgehub.agents.codex.translate.sub_agents import SubAgents
from bridgehub.agents.json_rpc.messages import Fields, Notification
from bridgehub.protocol.events import (
    HubEvent,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    ToolBegan,
    ToolEnded,
    TurnDone,
)
from bridgehub.protocol.messages import Steer
from tests.standin.openai import shell
from tests.standin.openai_requests import SeenResponse
from tests.standin.openai_rig import CodexRig, CodexSink, deciding, open_codex_rig
from tests.standin.replies import Answer, Failure, Reply, Text, ToolUse
from tests.standin.rig import eventually

LIMIT_S = 60.0

OLDER, NEWER = "multi_agent_v1", "collaboration"

SETTINGS = {
    OLDER: "\n[agents]\nmax_depth = 2\n",
    NEWER: "\n[features]\nmulti_agent_v2 = true\n",
}


def start(way: str, work: str) -> ToolUse:
    """Return the call by which the model starts an agent."""
    told = {"message": work} if way == OLDER else {"message": work, "task_name": work}
    return ToolUse(f"{way}/spawn_agent", told)


def by_depth(rig: CodexRig, *rows: list[Reply]) -> None:
    """Answer the session's own thread by the first row, the next thread that comes by the second, …

    A row's last reply stays: an agent's end may cost its session one more request.
    """
    threads: list[str] = []

    def reply(seen: SeenResponse) -> Reply:
        if seen.thread not in threads:
            threads.append(seen.thread)
        row = rows[threads.index(seen.thread)]
        return row.pop(0) if len(row) > 1 else row[0]

    rig.standin.fallback = reply


def is_answered(driver: CodexDriver) -> bool:
    """Tell whether the session's own answer is over; after that its model is not asked about the agent's end."""
    session = driver._session
    return session is not None and session._turn is not None and session._turn.over is not None


@pytest.mark.parametrize("way", [OLDER, NEWER])
async def test_an_agent_of_codex_is_a_task_of_the_turn(tmp_path: Path, way: str) -> None:
    """The session's own answer is over first; the turn lasts until the agent is done, and asks for it."""
    async with open_codex_rig(tmp_path) as rig:
        driver, sink, gate = rig.driver(more=SETTINGS[way]), deciding("allow"), trio.Event()
        by_depth(
            rig,
            [Answer.of("I start one. ", start(way, "count")), Answer.of("It runs.")],
            [Answer.of("I count. ", shell("touch made; echo one")), Answer.of(Text.of(gate, "counted"))],
        )
        ends: list[object] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def run() -> None:
                ends.append((await rig.turn(driver, "go", sink))[0])

            await sink.until(lambda seen: seen.text().endswith("It runs."))
            await eventually(lambda: is_answered(driver))
            with trio.fail_after(LIMIT_S):
                late = Steer("turn-1", "message-s", "and this")
                assert not await driver.steer(late), "its own turn is over; the agent is not who is spoken to"
            assert ends == []
            gate.set()
        assert isinstance(ends[0], TurnDone)
        assert sink.text() == "I start one. It runs."
        assert (rig.workspace / "made").exists()
        [began], [ended] = sink.of(TaskBegan), sink.of(TaskEnded)
        assert (began.title, began.agent_type) == ("count" if way == OLDER else "/root/count", "agent")
        assert (ended.task_id, ended.state, ended.result) == (began.task_id, "succeeded", "counted")
        assert [word.progress for word in sink.of(TaskProgressed)] == ["I count. ", "counted"]
        assert [asked.task_id for asked in sink.asked] == [began.task_id]
        first, second = sink.of(ToolBegan)
        assert (first.name, second.name, second.parent_tool_id) == (
            "agent_spawnAgent",
            "shell",
            first.tool_id,
        )
        assert [(tool.output, tool.parent_tool_id) for tool in sink.of(ToolEnded)][-1] == (
            "one\n",
            first.tool_id,
        )

        rig.standin.fallback = lambda seen: Answer.of("well")
        end, again = await rig.turn(driver, "and?")
        assert (type(end), again.text(), again.of(TaskBegan)) == (TurnDone, "well", [])


@pytest.mark.parametrize("way", [OLDER, NEWER])
async def test_a_command_that_outlives_its_agent_is_a_task(tmp_path: Path, way: str) -> None:
    async with open_codex_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        driver, between = rig.driver(more=SETTINGS[way], permission_mode="never"), CodexSink()
        waits, stays = (
            ToolUse("exec_command", {"cmd": cmd, "yield_time_ms": 250})
            for cmd in ("while [ ! -e go ]; do sleep 0.1; done; echo went", "sleep 986")
        )
        by_depth(
            rig,
            [Answer.of("I start one. ", start(way, "serve")), Answer.of("It runs.")],
            [Answer.of(waits, stays), Answer.of("served")],
        )
        end, sink = await rig.turn(driver, "go")
        assert isinstance(end, TurnDone)
        begun = [one for one in sink.of(TaskBegan) if one.background]
        went, slept = sorted(begun, key=lambda one: "went" not in one.title)
        assert ("went" in went.title, "986" in slept.title) == (True, True)
        nursery.start_soon(driver.wait_own_work, between.emit)
        (rig.workspace / "go").touch()
        await between.until(lambda seen: bool(seen.of(TaskEnded)))
        await driver.stop_task(slept.task_id, between.emit)
        assert between.of(TaskEnded) == [
            TaskEnded(None, went.task_id, "succeeded", "went\n"),
            TaskEnded(None, slept.task_id, "cancelled"),
        ]
        nursery.cancel_scope.cancel()


async def test_an_interrupt_stops_agents_of_agents(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(more=SETTINGS[OLDER], permission_mode="never"), CodexSink()
        by_depth(
            rig,
            [Answer.of(start(OLDER, "first")), Answer.of(Text.of("own ", trio.Event()))],
            [Answer.of(start(OLDER, "second")), Answer.of(shell("sleep 987"))],
            [Answer.of(Text.of("deep ", trio.Event()))],
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "go", sink)
            await sink.until(lambda seen: len(seen.of(TaskBegan)) == 2 and seen.text() == "own ")
            await eventually(lambda: rig.runs("sleep"))
            program = driver._program
            await driver.interrupt()
        above, below = sink.of(TaskBegan)
        assert (above.parent_task_id, below.parent_task_id) == (None, above.task_id)
        assert {(ended.task_id, ended.state) for ended in sink.of(TaskEnded)} == {
            (above.task_id, "cancelled"),
            (below.task_id, "cancelled"),
        }
        await eventually(lambda: not rig.runs("sleep"))
        assert sink.text() == "own "

        rig.standin.fallback = lambda seen: Answer.of("well")
        end, _ = await rig.turn(driver, "and?")
        assert isinstance(end, TurnDone)
        assert driver._program is program, "nothing had to be put away"


async def test_an_interrupt_stops_an_agent_that_never_ends(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(more=SETTINGS[NEWER], permission_mode="never"), CodexSink()
        by_depth(
            rig,
            [Answer.of("I start one. ", start(NEWER, "count")), Answer.of("It runs.")],
            [Answer.of(shell("sleep 986"))],
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "go", sink)
            await eventually(lambda: is_answered(driver) and rig.runs("sleep"))
            with trio.fail_after(LIMIT_S):
                await driver.interrupt()
        assert [(ended.state, ended.result) for ended in sink.of(TaskEnded)] == [("cancelled", None)]
        assert sink.text() == "I start one. It runs."
        await eventually(lambda: not rig.runs("sleep"))


@pytest.mark.parametrize("who", ["agent", "session"])
async def test_an_agent_or_its_session_fails(tmp_path: Path, who: str) -> None:
    """A failed agent fails its task only; a failed answer of the session takes its agents along."""
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(more=SETTINGS[OLDER]), CodexSink()
        bad = Failure(400, "invalid_request", "odd")
        begun = trio.Event()
        own: Reply = bad if who == "session" else Answer.of(Text.of(begun, "on"))
        by_depth(
            rig,
            [Answer.of(start(OLDER, "work")), own],
            [bad if who == "agent" else Answer.of(Text.of("half ", trio.Event()))],
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "go", sink)
            await sink.until(lambda seen: bool(seen.of(TaskEnded)))
            begun.set()
        assert [ended.state for ended in sink.of(TaskEnded)] == ["failed" if who == "agent" else "cancelled"]
        rig.standin.fallback = lambda seen: Answer.of("well")
        end, again = await rig.turn(driver, "again")
        assert (type(end), again.text()) == (TurnDone, "well")


def told(method: str, thread: str, **params: object) -> Notification:
    return Notification(method, Fields({"threadId": thread, **params}))


def test_an_unnamed_agent_and_one_of_another_turn() -> None:
    agents = SubAgents()
    agents.open_turn("t")
    agents.root_id = "root"

    def hear(*notifications: Notification) -> list[HubEvent]:
        return [event for one in notifications for event in agents.hear(one, 0.0)]

    stranger = {"id": "x", "rootTurnId": "another"}
    assert hear(told("turn/started", "a", turn=stranger), told("turn/completed", "a", turn=stranger)) == []
    assert hear(told("turn/started", "b", turn={"id": "y", "rootTurnId": "root"})) == []
    speech = {"id": "i", "type": "agentMessage", "text": "hello"}
    assert hear(told("item/completed", "b", item=speech)) == [
        TaskBegan("t", "y", "A sub-agent", "agent"),
        TaskProgressed("t", "y", "hello"),
    ]
    assert agents.owed
    assert hear(told("turn/completed", "b", turn={"id": "y", "status": "failed"})) == [
        TaskEnded("t", "y", "failed")
    ]
    assert hear(told("item/completed", "b", item=speech)) == []


@pytest.mark.parametrize("first", [True, False])
def test_an_agent_done_before_it_is_named_is_not_awaited(first: bool) -> None:
    agents = SubAgents()
    agents.open_turn("t")
    agents.root_id = "root"
    call = {"id": "c", "type": "collabAgentToolCall", "tool": "spawnAgent", "status": "completed"}
    named = told("item/completed", "own", item={**call, "receiverThreadIds": ["b"], "prompt": "look"})
    if first:
        agents.note(named)
        assert agents.owed
    for method, status in (("turn/started", "inProgress"), ("turn/completed", "completed")):
        turn = {"id": "y", "rootTurnId": "root", "status": status}
        told_now = list(agents.hear(told(method, "b", turn=turn), 0.0))
    assert told_now[-1] == TaskEnded("t", "y", "succeeded")
    agents.note(named)
    assert not agents.owed
