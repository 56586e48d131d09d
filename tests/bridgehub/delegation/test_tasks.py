"""Delegation in a hub, with drivers whose turns are the test's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from bridgehub.agents.base import Sink
from bridgehub.delegation.mcp import codex_arguments
from bridgehub.delegation.sink import PROGRESS_TOTAL, RESULT_CHARS, Budget, TaskSink
from bridgehub.delegation.tasks import Delegation, TaskResult
from bridgehub.protocol.events import (
    BlockDropped,
    Noticed,
    PermissionAsked,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    TextPiece,
    ToolBegan,
    TurnDone,
    TurnFailed,
    TurnStopped,
)
from bridgehub.protocol.hub_spec import DelegateSpec, HubSpec
from bridgehub.protocol.messages import Decided, InterruptTurn, Prompt
from bridgehub.protocol.process_tree import TASK_MARKER
from tests.bridgehub.delegation.delegating import Cast, delegating_spec, hand_out, hang, passes_on, rest, says
from tests.bridgehub.hub_harness import ScriptedDriver, open_hub, prompt
from tests.standin.rig import Asked, RecordingSink, eventually


async def test_a_task_from_its_start_to_its_result(tmp_path: Path) -> None:
    (told,), sink = await hand_out(Cast({}), tmp_path, ("echo", "say it\nback", "and this"))
    (began,), (ended,) = sink.of(TaskBegan), sink.of(TaskEnded)
    words = "echo: say it back Context: and this "
    assert told == TaskResult(words)
    assert (began.title, began.agent_type, began.parent_task_id) == ("say it", "echo", None)
    assert (ended.task_id, ended.state, ended.result) == (began.task_id, "succeeded", words)
    assert "".join(item.progress for item in sink.of(TaskProgressed)) == words
    assert {type(event) for event in sink.events} == {TaskBegan, TaskProgressed, TaskEnded}


async def test_what_a_delegate_is_made_of(tmp_path: Path) -> None:
    cast = Cast({"one": passes_on("two"), "two": says("hi")})
    changes = {"permission_mode": "plan", "model": "m", "grants": ("ls",), "agent_memory": {"a": 1}}
    (told,), sink = await hand_out(cast, tmp_path, ("one", "go"), max_task_depth=2, **changes)
    assert told.text == "[hi]"
    (one, driver), (two, _) = cast.made
    outer, inner = sink.of(TaskBegan)
    assert (outer.parent_task_id, inner.parent_task_id) == (None, outer.task_id)
    assert inner.title == "from go"
    assert driver.was_closed
    assert one.env == {"NAME": "one", TASK_MARKER: outer.task_id}
    assert (one.options, one.permission_mode, one.model) == ({"of": "one"}, "plan", None)
    assert (one.grants, one.agent_memory) == ((), None)
    assert set(one.delegates) == {"echo", "absent", "two"}
    assert set(two.delegates) == {"echo", "absent"}
    assert len({one.agent_session_id, two.agent_session_id, "a-1"}) == 3
    assert len({one.socket, two.socket, str(tmp_path / "s")}) == 3


@pytest.mark.parametrize(
    ("kind", "mode", "options", "passed_on"),
    [
        ("claude", None, {}, None),
        ("claude", "acceptEdits", {"permission_mode": "plan"}, None),
        ("claude", "default", {"permission_mode": "plan"}, None),
        ("claude", None, {"permission_mode": "plan"}, "plan"),
        ("echo", "plan", {}, "plan"),
        ("codex", None, {"sandbox": "read-only"}, "plan"),
        ("codex", "read-only", {"sandbox": "workspace-write"}, "plan"),
        ("codex", "plan", {"sandbox": "danger-full-access"}, "plan"),
        ("codex", "workspace-write", {"sandbox": "read-only"}, None),
        ("codex", "acceptEdits", {"sandbox": "read-only"}, None),
        # Words for the approval say nothing of the sandbox.
        ("codex", "on-request", {"sandbox": "read-only"}, "plan"),
        ("codex", "never", {"sandbox": "read-only"}, "plan"),
        ("codex", "untrusted", {"sandbox": "read-only"}, "plan"),
        ("codex", "default", {"sandbox": "read-only"}, "plan"),
    ],
)
async def test_who_may_not_write_may_not_have_it_done(
    tmp_path: Path, kind: str, mode: str | None, options: dict[str, Any], passed_on: str | None
) -> None:
    cast = Cast({"one": says("hi")})
    await hand_out(cast, tmp_path, ("one", "go"), kind=kind, permission_mode=mode, options=options)
    assert [spec.permission_mode for spec, _ in cast.made] == [passed_on]
    relay = {"relay": DelegateSpec("bridgehub/1.0", {}, {}), "other": DelegateSpec("codex", {}, {})}
    delegation = cast.delegation(tmp_path, kind=kind, permission_mode=mode, options=options, delegates=relay)
    assert delegation.offered == (("other",) if passed_on else ("other", "relay"))
    mode_of_codex = delegation._delegate_spec("other", "t", "s").permission_mode
    assert mode_of_codex == ("read-only" if passed_on else None), "its `plan` asks for leave to write"


async def test_the_mode_of_the_moment_is_handed_on(tmp_path: Path) -> None:
    cast, modes = Cast({"one": says("hi")}), ["plan", "default", "plan"]
    delegation = cast.delegation(tmp_path, kind="claude", options={"permission_mode": "default"})
    async with delegation.open_turn("t1", RecordingSink()):
        for mode in modes:
            delegation.mode_now = lambda mode=mode: mode
            await delegation.new_task("one", "go")
    assert [spec.permission_mode for spec, _ in cast.made] == ["plan", None, "plan"]


async def test_depth_and_number_are_bounded(tmp_path: Path) -> None:
    cast = Cast({"one": passes_on("two"), "two": says("hi")})
    (told,), _ = await hand_out(cast, tmp_path, ("one", "go"), max_task_depth=1)
    assert "no agent 'two'" in told.text
    *_, last = (await hand_out(cast, tmp_path, *[("echo", "x")] * 3, max_tasks=2))[0]
    assert last.is_error
    assert "as many as it may" in last.text
    # Those of a delegate count too.
    (told, refused), sink = await hand_out(cast, tmp_path, ("one", "go"), ("echo", "x"), max_tasks=2)
    assert (told.text, refused.is_error) == ("[hi]", True)
    assert len(sink.of(TaskBegan)) == 2
    ways: list[dict[str, Any]] = [{"max_tasks": 0}, {"max_task_depth": 0}, {"delegates": {}}]
    for off in ways:
        assert cast.delegation(tmp_path, **off).offered == ()
        assert codex_arguments(cast.delegation(tmp_path, **off)) == ()


@pytest.mark.parametrize(
    ("agent", "task", "told"),
    [
        ("nobody", "x", "there are: absent, echo"),
        ("echo", " ", "empty"),
        ("echo", "x" * 300_000, "characters"),
    ],
)
async def test_what_cannot_be_handed_out(tmp_path: Path, agent: str, task: str, told: str) -> None:
    (result,), sink = await hand_out(Cast({}), tmp_path, (agent, task))
    assert result.is_error
    assert told in result.text
    assert sink.events == []
    outside = await Cast({}).delegation(tmp_path).new_task("echo", "x")
    assert "in a turn only" in outside.text


async def test_a_delegate_that_fails(tmp_path: Path) -> None:
    async def fails(prompt: Prompt, sink: Sink, _: Delegation) -> TurnFailed:
        await sink.emit(TextPiece(prompt.turn_id, "text", "b", "half a word"))
        return TurnFailed(prompt.turn_id, "model_error", "overloaded", retryable=True)

    async def breaks(prompt: Prompt, sink: Sink, _: Delegation) -> None:
        await sink.emit(TextPiece(prompt.turn_id, "text", "b", "x"))
        raise RuntimeError("secret details")

    cast = Cast({"fails": fails, "breaks": breaks})
    told, sink = await hand_out(
        cast, tmp_path, ("fails", "x"), ("breaks", "x"), ("absent", "x"), ("echo", "/crash")
    )
    assert [item.is_error for item in told] == [True] * 4
    assert told[0].text == "fails failed (model_error): overloaded\n\nIt had said:\nhalf a word"
    assert "RuntimeError" in told[1].text
    assert "secret" not in told[1].text
    assert "not_installed" in told[2].text
    assert "PracticeRefused" in told[3].text
    assert [item.state for item in sink.of(TaskEnded)] == ["failed"] * 4
    assert all(driver.was_closed for _, driver in cast.made)


async def test_a_flood_of_words_is_bounded(tmp_path: Path) -> None:
    async def floods(prompt: Prompt, sink: Sink, _: Delegation) -> None:
        for _n in range(100):
            await sink.emit(TextPiece(prompt.turn_id, "text", "b", "x" * 10_000))

    (told,), sink = await hand_out(Cast({"floods": floods}), tmp_path, ("floods", "x"))
    assert told.text.startswith("x" * RESULT_CHARS + "\n[The rest")
    progress = [item.progress for item in sink.of(TaskProgressed)]
    assert PROGRESS_TOTAL <= sum(map(len, progress)) < PROGRESS_TOTAL + 100
    assert max(map(len, progress)) <= 16 * 1024
    (ended,) = sink.of(TaskEnded)
    assert ended.result is not None
    assert len(ended.result) < 66_000


async def test_a_delegates_answer_that_begins_again_is_told_once() -> None:
    sink = TaskSink(RecordingSink(), "t", "k", "echo", Budget(1, "s"))
    await sink.emit(TextPiece("x", "text", "a", "half an "))
    await sink.emit(BlockDropped("x", "text", "a"))
    await sink.emit(TextPiece("x", "text", "b", "the whole"))
    assert sink.answer == "the whole"


async def test_what_a_delegate_does_stays_with_its_task(tmp_path: Path) -> None:
    async def works(prompt: Prompt, sink: Sink, _: Delegation) -> None:
        turn_id = prompt.turn_id
        await sink.emit(ToolBegan(turn_id, "tool", "Bash", {"command": "ls " + "x" * 500}))
        await sink.emit(TextPiece(turn_id, "thinking", "b", "hm"))
        await sink.emit(Noticed(turn_id, "agent_retry", "again in 2 s", 1, 2.0))
        await sink.emit(TaskBegan(turn_id, "sub", "a sub-agent", "general"))
        await sink.remember({"x": 1})
        decided = await sink.ask("Bash", {"command": "rm"}, grant="rm")
        await sink.emit(TextPiece(turn_id, "text", "b", decided.decision))

    sink = RecordingSink(decide=lambda asked: Decided("r", "deny"))
    delegation = Cast({"works": works}).delegation(tmp_path)
    async with delegation.open_turn("t1", sink):
        assert await delegation.new_task("works", "x") == TaskResult("deny")
    outer, sub = sink.of(TaskBegan)
    assert sub.parent_task_id == outer.task_id
    assert [(end.task_id, end.state) for end in sink.of(TaskEnded)] == [
        ("sub", "cancelled"),
        (outer.task_id, "succeeded"),
    ]
    assert [asked.tool for asked in sink.of(Asked)] == ["Bash"]
    assert sink.of(TaskProgressed)[0].progress.startswith('Bash {"command":"ls xxx')
    assert len(sink.of(TaskProgressed)[0].progress) < 250
    assert sink.of(Noticed) == [Noticed("t1", "agent_retry", "works: again in 2 s", 1, 2.0)]
    assert (sink.text(), sink.text("thinking"), sink.of(ToolBegan), sink.memory) == ("", "", [], {})


async def test_an_interrupt_of_the_turn_stops_the_tree(tmp_path: Path) -> None:
    async def waits(prompt: Prompt, sink: Sink, delegation: Delegation) -> None:
        await delegation.new_task("one", "go")

    cast = Cast({"main": waits, "one": passes_on("two"), "two": hang})
    async with open_hub(
        tmp_path, cast.make, agent="main", delegates=delegating_spec(tmp_path, "one", "two").delegates
    ) as hub:
        reader = await hub.reader()
        await reader.link.send(prompt("t1", "x"))
        await reader.read_until(TaskProgressed)
        with trio.fail_after(20):
            await reader.link.send(InterruptTurn("t1"))
            await reader.read_until(TurnStopped)
        ended = [item.event.state for item in reader.events if isinstance(item.event, TaskEnded)]
        assert ended == ["cancelled", "cancelled"]
        await eventually(lambda: all(driver.was_closed for _, driver in cast.made))
        cast.plays["main"] = says("well")
        assert [type(item.event) for item in await reader.turn("t2", "x")][-1] is TurnDone


async def test_a_delegates_question_reaches_the_person_with_its_task(tmp_path: Path) -> None:
    async def waits(prompt: Prompt, sink: Sink, delegation: Delegation) -> None:
        told = await delegation.new_task("echo", "/ask may I")
        await sink.emit(TextPiece(prompt.turn_id, "text", "b", f"it was {told.text}"))

    cast = Cast({"main": waits})
    async with open_hub(
        tmp_path, cast.make, agent="main", delegates=delegating_spec(tmp_path).delegates
    ) as hub:
        reader = await hub.reader()
        await reader.link.send(prompt("t1", "x"))
        events = [item.event for item in await reader.read_until(PermissionAsked)]
        asked, began = events[-1], next(event for event in events if isinstance(event, TaskBegan))
        assert isinstance(asked, PermissionAsked)
        assert (asked.tool, asked.task_id) == ("practice", began.task_id)
        await reader.link.send(Decided(asked.request_id, "allow"))
        await reader.read_until(TurnDone)
        assert [item.event.text for item in reader.events if isinstance(item.event, TextPiece)] == [
            "it was allowed"
        ]


async def test_a_call_that_is_given_up_cancels_its_task_and_no_other(tmp_path: Path) -> None:
    sink, cast = RecordingSink(), Cast({"hang": hang})
    delegation = cast.delegation(tmp_path)
    with trio.fail_after(40):
        async with delegation.open_turn("t1", sink), trio.open_nursery() as nursery:
            with trio.CancelScope() as call:
                nursery.start_soon(delegation.new_task, "hang", "stays")
                async with trio.open_nursery() as inner:
                    inner.start_soon(delegation.new_task, "hang", "goes")
                    await sink.until(lambda seen: len(seen.of(TaskProgressed)) == 2)
                    call.cancel()
            await sink.until(lambda seen: len(seen.of(TaskEnded)) == 1)
            titles = {began.task_id: began.title for began in sink.of(TaskBegan)}
            assert [titles[ended.task_id] for ended in sink.of(TaskEnded)] == ["goes"]
            nursery.cancel_scope.cancel()
    assert [ended.state for ended in sink.of(TaskEnded)] == ["cancelled", "cancelled"]


async def test_processes_of_a_delegate_that_does_not_close_are_killed(tmp_path: Path) -> None:
    """Its own only: a process of the session's agent lives on."""
    sleeper = [sys.executable, "-I", "-c", "import time; time.sleep(600)"]
    mine = await trio.lowlevel.open_process(sleeper)
    theirs: list[subprocess.Popen[bytes]] = []

    @attrs.define(eq=False)
    class Stubborn(ScriptedDriver):
        async def aclose(self) -> None:
            await trio.to_thread.run_sync(theirs[0].wait, abandon_on_cancel=True)

    def make(spec: HubSpec) -> Stubborn:
        theirs.append(subprocess.Popen(sleeper, env=spec.env, start_new_session=True))
        return Stubborn(rest)

    try:
        delegation = Delegation(delegating_spec(tmp_path), make)
        with trio.fail_after(40):
            async with delegation.open_turn("t1", RecordingSink()):
                assert await delegation.new_task("echo", "x") == TaskResult("")
        assert theirs[0].returncode == -9
        assert mine.poll() is None
    finally:
        mine.kill()
        with trio.move_on_after(5, shield=True):
            await mine.wait()
        for process in theirs:
            process.kill()
            process.wait()
