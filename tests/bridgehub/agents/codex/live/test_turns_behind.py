"""A terminal's turn that begins just as ours ends: nothing of it is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from bridgehub.agents.base import BeganAtDesk, TurnEnd
from bridgehub.agents.codex.session import CodexSession
from bridgehub.agents.json_rpc.messages import HELD, Notification, ServerRequest, Speech
from bridgehub.protocol.events import TurnDone
from bridgehub.protocol.session_events import PersonSaid
from tests.bridgehub.agents.codex.live.scripted import (
    Scripted,
    asks,
    completed,
    said,
    started,
    told,
)
from tests.standin.openai_rig import CodexSink, deciding

OURS, THEIRS = "turn-ours", "turn-theirs"

SPAWNED: dict[str, Any] = {
    "type": "collabAgentToolCall",
    "id": "c",
    "tool": "spawnAgent",
    "status": "completed",
    "prompt": "count",
    "receiverThreadIds": ["child"],
}
"""Ours starts an agent and waits for it."""


@asynccontextmanager
async def running(session: CodexSession) -> AsyncIterator[trio.Nursery]:
    """Run the session's program while inside the block."""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.program.run)
            yield nursery
            nursery.cancel_scope.cancel(reason="the test is over")


async def followed(session: CodexSession, sink: CodexSink) -> TurnEnd:
    return await session.follow_turn("desk-turn", sink)


async def test_what_a_listener_left_keeps_its_order_between_turns() -> None:
    heard: list[str] = []

    def idle(message: Notification | ServerRequest) -> Mapping[str, Any] | None:
        heard.append(message.method)
        return {"ask/held": HELD, "ask/known": {"yes": True}}.get(message.method)

    wire = Scripted()
    program = wire.program(Speech(idle=idle))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.run)
        with program.listen():
            for number in range(6):  # more than a listener's channel holds, so that the reader waits too
                wire.says({"method": f"note/{number}"})
            wire.says(*({"id": 7 + n, "method": f"ask/{w}"} for n, w in enumerate(("held", "known", "new"))))
            await wait_all_tasks_blocked()
            assert heard == []
        wire.says({"method": "note/last"})
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="the test is over")
    assert heard == [*(f"note/{n}" for n in range(6)), "ask/held", "ask/known", "ask/new", "note/last"]
    answers = {one["id"]: one for one in wire.sent}
    assert set(answers) == {8, 9}
    assert answers[8]["result"] == {"yes": True}
    assert "error" in answers[9]


async def test_a_turn_that_begins_as_ours_ends_is_reported_after_it() -> None:
    wire = Scripted([OURS])
    session = wire.session()
    sink = CodexSink()
    ends: list[TurnEnd] = []
    async with running(session) as nursery:

        @nursery.start_soon
        async def run() -> None:
            ends.append(await session.run_turn("ours", [{"type": "text", "text": "hello"}], sink))

        await wait_all_tasks_blocked()
        wire.says(
            started(OURS),
            said(OURS, "hello", wire.prompt_id()),
            completed(OURS),
            started(THEIRS),
            said(THEIRS, "from the desk", "their-id"),
        )
        wire.says(completed(THEIRS))
        await wait_all_tasks_blocked()
        assert [type(one) for one in ends] == [TurnDone]
        assert session.between.elsewhere.begun() == BeganAtDesk(f"desk-{THEIRS}", "from the desk")
        assert isinstance(await followed(session, CodexSink()), TurnDone)
        assert session.between.elsewhere.begun() is None


async def test_a_message_behind_a_compaction_is_reported() -> None:
    wire, sink = Scripted(), CodexSink()
    session = wire.session()
    compaction = {"type": "contextCompaction", "id": "c"}
    async with running(session) as nursery:
        wire.says(started(THEIRS), told("item/started", turnId=THEIRS, item=compaction))
        wire.says(told("item/completed", turnId=THEIRS, item=compaction))
        await wait_all_tasks_blocked()
        assert session.between.elsewhere.begun() == BeganAtDesk(f"desk-{THEIRS}", None)
        nursery.start_soon(followed, session, sink)
        wire.says(said(THEIRS, "from the desk", "their-id"), said(THEIRS, "and more", "another-id"))
        wire.says(completed(THEIRS))
        await wait_all_tasks_blocked()
        assert [one.content for one in sink.of(PersonSaid)] == ["from the desk", "and more"]


async def test_a_turn_waits_while_ours_waits_for_its_agents() -> None:
    wire = Scripted([OURS])
    session = wire.session()
    sink, theirs = deciding("allow"), deciding("allow")
    ends: list[TurnEnd] = []
    async with running(session) as nursery:

        @nursery.start_soon
        async def run() -> None:
            ends.append(await session.run_turn("ours", [{"type": "text", "text": "hello"}], sink))

        await wait_all_tasks_blocked()
        wire.says(started(OURS), said(OURS, "hello", wire.prompt_id()))
        wire.says(told("item/completed", turnId=OURS, item=SPAWNED))
        wire.says(started("child-turn", "child", OURS), completed(OURS))
        wire.says(started(THEIRS), said(THEIRS, "from the desk", "their-id"), asks(90, THEIRS, "ls"))
        wire.says(asks(91, THEIRS, "cat"), told("serverRequest/resolved", requestId=91))
        await wait_all_tasks_blocked()
        assert ends == []
        assert "ls" in {one.tool_input["command"] for one in sink.asked}, "ours may wait long"
        wire.says(completed("child-turn", "child"))
        await wait_all_tasks_blocked()
        assert [type(one) for one in ends] == [TurnDone]
        assert session.between.elsewhere.begun() == BeganAtDesk(f"desk-{THEIRS}", "from the desk")
        nursery.start_soon(followed, session, theirs)
        await wait_all_tasks_blocked()
        assert theirs.asked == []
        answered = [one["id"] for one in wire.sent if "result" in one]
        assert answered == [90], "the other question was answered at the desk"


async def test_a_question_that_ours_did_not_settle_comes_again() -> None:
    """Ours is stopped, or ends before anybody answers. The files of a change are shown both times."""
    wire = Scripted([OURS])
    session = wire.session()
    sink, theirs = deciding("cancelled"), deciding("deny", note="not that one")
    change = {"path": "/a.txt", "kind": {"type": "add"}, "diff": "new"}
    edit = {"type": "fileChange", "id": "call-90", "changes": [change], "status": "inProgress"}
    asked = asks(90, THEIRS, "")
    asked["method"] = "item/fileChange/requestApproval"
    async with running(session) as nursery:
        nursery.start_soon(session.run_turn, "ours", [{"type": "text", "text": "hello"}], sink)
        await wait_all_tasks_blocked()
        wire.says(started(OURS), said(OURS, "hello", wire.prompt_id()))
        wire.says(told("item/completed", turnId=OURS, item=SPAWNED))
        wire.says(started("child-turn", "child", OURS), completed(OURS))
        wire.says(started(THEIRS), said(THEIRS, "from the desk", "their-id"))
        wire.says(told("item/started", turnId=THEIRS, item=edit), asked)
        await wait_all_tasks_blocked()
        assert [one.tool_input["changes"][0]["path"] for one in sink.asked] == ["/a.txt"]
        assert [one for one in wire.sent if "result" in one] == []
        wire.says(completed("child-turn", "child"))
        await wait_all_tasks_blocked()
        nursery.start_soon(followed, session, theirs)
        await wait_all_tasks_blocked()
        assert [one.tool_input["changes"][0]["path"] for one in theirs.asked] == ["/a.txt"]
        (answer,) = [one for one in wire.sent if "result" in one]
        assert (answer["id"], answer["result"]) == (90, {"decision": "decline"})


async def test_a_no_with_a_reason_goes_to_the_turn_that_asked() -> None:
    wire = Scripted([OURS])
    session = wire.session()
    sink = deciding("deny", note="not that one")
    async with running(session) as nursery:
        nursery.start_soon(session.run_turn, "ours", [{"type": "text", "text": "hello"}], sink)
        await wait_all_tasks_blocked()
        wire.says(started(OURS), said(OURS, "hello", wire.prompt_id()))
        wire.says(told("item/completed", turnId=OURS, item=SPAWNED))
        wire.says(started("child-turn", "child", OURS), completed(OURS))
        wire.says(started(THEIRS), said(THEIRS, "from the desk", "their-id"), asks(90, THEIRS, "ls"))
        await wait_all_tasks_blocked()
        (steered,) = [one["params"] for one in wire.sent if one.get("method") == "turn/steer"]
        assert steered["expectedTurnId"] == THEIRS
        assert "not that one" in steered["input"][0]["text"]
        nursery.cancel_scope.cancel(reason="the test is over")
