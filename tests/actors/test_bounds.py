"""Everything that a session keeps of a hub or a device has a bound (docs/internals/reliability.md, "Memory")."""

from __future__ import annotations

from typing import Any

import attrs
import orjson
import pytest
import trio
from trio.testing import MockClock

import actors.session.steps.hub_steps
from actors.commands import Decide, Resolve, Send
from actors.events.permissions import PermissionRequested
from actors.events.work import TaskFinished, ToolFinished, ToolStarted
from actors.hubs.processes import LEFT_BYTES
from actors.session.apply import DECIDED_KEPT, UNKNOWN_KEPT
from actors.session.effects import SendToHub
from actors.session.hub_owner import TELLS_WAITING, HubOwner
from actors.session.mailbox import Mailbox
from actors.session.snapshot import restore
from actors.session.steps.hub_steps import MAX_OPEN_REQUESTS, MAX_OPEN_TASKS
from actors.tail import ROUNDS_KEPT, Tail
from bridgehub.protocol import events as hub
from bridgehub.protocol.codec import encode
from bridgehub.protocol.limits import (
    MAX_GRANT_CHARS,
    MAX_ID_CHARS,
    MAX_TEXT_CHARS,
    MAX_VALUE_BYTES,
    MAX_VALUE_DEPTH,
)
from bridgehub.protocol.messages import Decided, Reported
from tests.actors.core import Core
from tests.actors.hub_folder import HUB, open_hubs
from tests.actors.session.steps.test_hub_steps import OPTIONS, in_phase
from tests.actors.session.test_hub_owner import open_desk, spec
from tests.actors.test_tail import piece


def nested(levels: int) -> Any:
    value: Any = "the bottom"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [nested(MAX_VALUE_DEPTH + 1), nested(900), {"text": "x" * MAX_VALUE_BYTES}, ["\x00" * MAX_VALUE_BYTES]],
    ids=["deep", "deeper than JSON", "long", "long once encoded"],
)
def test_a_value_that_is_too_large_is_cut_everywhere(value: Any) -> None:
    core = in_phase("consumed")
    turn = core.turn_id
    core.hear(hub.ToolBegan(turn, "x", "bash", value, blob=value if isinstance(value, dict) else None))
    began = core.events[0].event
    core.hear(hub.PermissionAsked(turn, "p", "bash", value, OPTIONS, questions=value))
    asked = core.events[0].event
    assert isinstance(began, ToolStarted)
    assert isinstance(asked, PermissionRequested)
    for kept in (began.input, asked.input, asked.questions):
        assert set(kept) == {"clipped"}
        assert len(orjson.dumps(kept)) <= MAX_VALUE_BYTES
    core.hear(hub.AgentMemory(turn, {"memory": value}))
    assert core.state.agent_memory is None
    assert restore(core.record).turn is not None


def test_a_value_within_its_bounds_is_kept_as_it_is() -> None:
    core = in_phase("consumed")
    value = {"deep": nested(MAX_VALUE_DEPTH - 1), "text": "x" * (MAX_VALUE_BYTES - 400)}
    core.hear(hub.ToolBegan(core.turn_id, "x", "bash", value))
    assert getattr(core.events[0].event, "input", None) == value


def test_long_texts_are_cut() -> None:
    core = in_phase("consumed")
    turn, text = core.turn_id, "ä" * (MAX_TEXT_CHARS + 1)
    core.hear(hub.ToolEnded(turn, "x", "bash", text, is_error=False))
    ended = core.events[0].event
    assert isinstance(ended, ToolFinished)
    assert ended.output == "ä" * MAX_TEXT_CHARS + "…"
    core.hear(hub.TaskBegan(turn, "k", text, "echo"), hub.TaskEnded(turn, "k", "succeeded", text))
    done = core.events[-1].event
    assert isinstance(done, TaskFinished)
    assert len(done.result or "") == MAX_TEXT_CHARS + 1
    assert len(done.title) == 1000
    grant = "g" * (MAX_GRANT_CHARS + 1)
    core.hear(hub.PermissionAsked(turn, "p", "bash", {}, ("o" * 999,) * 99, grant=grant))
    asked = core.events[0].event
    assert isinstance(asked, PermissionRequested)
    assert asked.grant is None
    assert len(asked.options) < 99
    core.hear(hub.Noticed(turn, "n", text))
    assert len(getattr(core.events[0].event, "content", "")) == MAX_TEXT_CHARS + 1


LONG = "i" * 4600


@pytest.mark.parametrize(
    "event",
    [
        hub.TextPiece("t", "text", LONG, "a"),
        hub.ToolBegan("t", LONG, LONG, {}, LONG),
        hub.ToolEnded("t", LONG, LONG, "", is_error=False, parent_tool_id=LONG),
        hub.PermissionAsked("t", "p", LONG, {}, OPTIONS, task_id=LONG),
        hub.TaskBegan("t", LONG, "title", LONG, LONG),
        hub.Noticed("t", LONG, "content"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_foreign_id_is_kept_short_and_ends_nothing(event: Any) -> None:
    core = in_phase("consumed")
    (kind,) = core.hear(attrs.evolve(event, turn_id=core.turn_id))
    kept = [value for value in attrs.astuple(core.events[0].event) if isinstance(value, str)]
    assert kind in (
        "message",
        "tool_started",
        "tool_finished",
        "permission_requested",
        "task_started",
        "notice",
    )
    assert all(len(value) <= MAX_ID_CHARS for value in kept)
    assert sum(value.startswith("iii") for value in kept) >= 1
    assert core.hear(hub.TurnDone(core.turn_id))[-1] == "complete"


def test_two_long_ids_stay_two() -> None:
    core = in_phase("consumed")
    turn, other = core.turn_id, LONG[:-1] + "j"
    core.hear(hub.ToolBegan(turn, LONG, "bash", {}), hub.ToolEnded(turn, LONG, "bash", "", is_error=False))
    began, ended = (event.event for event in core.events)
    assert isinstance(began, ToolStarted)
    assert isinstance(ended, ToolFinished)
    assert began.tool_id == ended.tool_id
    core.hear(hub.TaskBegan(turn, LONG, "a", "echo"), hub.TaskBegan(turn, other, "b", "echo", LONG))
    assert core.state.turn is not None
    first, second = core.state.turn.tasks.values()
    assert (first.task_id != second.task_id, second.parent_task_id) == (True, first.task_id)
    assert core.hear(hub.TaskEnded(turn, LONG, "succeeded", None)) == ["task_finished"]


def test_a_request_whose_id_no_session_keeps_is_answered_with_no() -> None:
    core = in_phase("consumed")
    assert core.hear(hub.PermissionAsked(core.turn_id, LONG, "bash", {}, OPTIONS)) == []
    assert core.orders == [SendToHub(Decided(LONG, "cancelled"))]


def test_open_tasks_are_bounded() -> None:
    core = in_phase("consumed")
    began = [hub.TaskBegan(core.turn_id, f"k{n}", "t", "echo") for n in range(MAX_OPEN_TASKS + 5)]
    assert len(core.hear(*began)) == MAX_OPEN_TASKS
    turn = core.turn_id
    assert core.hear(hub.TaskEnded(turn, f"k{MAX_OPEN_TASKS}", "succeeded", None)) == []
    assert core.hear(hub.TaskEnded(turn, "k0", "succeeded", None)) == ["task_finished"]
    assert core.hear(hub.TaskBegan(turn, "again", "t", "echo")) == ["task_started"]
    assert core.hear(hub.TurnDone(turn)).count("task_finished") == MAX_OPEN_TASKS


def test_open_and_answered_requests_are_bounded() -> None:
    core = in_phase("consumed")
    turn = core.turn_id
    asked = [hub.PermissionAsked(turn, f"p{n}", "bash", {}, OPTIONS) for n in range(MAX_OPEN_REQUESTS + 1)]
    assert core.hear(*asked) == ["permission_requested"] * MAX_OPEN_REQUESTS
    assert core.orders == [SendToHub(Decided(f"p{MAX_OPEN_REQUESTS}", "cancelled"))]
    for n in range(DECIDED_KEPT + 10):
        assert core.do(Decide("p0" if n == 0 else f"q{n - 1}", "allow")) == ["permission_resolved"]
        assert core.hear(hub.PermissionAsked(turn, f"q{n}", "bash", {}, OPTIONS)) == ["permission_requested"]
    assert core.state.turn is not None
    assert len(core.state.turn.decided) == DECIDED_KEPT


def test_pieces_that_alternate_between_blocks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.session.steps.hub_steps, "MAX_ANSWER_RUNS", 10)
    core = in_phase("consumed")
    pieces = [hub.TextPiece(core.turn_id, "text", f"b{n % 2}", "x") for n in range(20)]
    words = core.hear(*pieces)
    assert words[-2:] == ["d:failed", "error agent_protocol"]
    assert words.count("message") == 11


def test_messages_of_unknown_fate_are_bounded() -> None:
    core = Core()
    for n in range(UNKNOWN_KEPT + 2):
        core.do(Send(f"m{n}", "x"))
        core.give(core.ready())
        assert core.give(core.gone()) == ["d:unknown", "error unknown_outcome"]
        core.hub_seq = 0
    assert len(core.state.unknown) == len(restore(core.record).unknown) == UNKNOWN_KEPT
    core.do(Resolve("m0", "discard"))
    assert core.reply_word == "rejected not_unknown"
    assert core.do(Resolve("m5", "discard")) == ["d:cancelled"]


def test_rounds_of_devices_at_many_places_are_bounded() -> None:
    tail = Tail("trip", 1, 0)
    items = [piece(seq, "x") for seq in range(1, 4 * ROUNDS_KEPT)]
    tail.publish_nowait(items, [10] * len(items))
    for seq in range(4 * ROUNDS_KEPT - 2):
        found = tail.read_nowait(seq)
        assert found is not None
        assert found.items[-1].seq == items[-1].seq
        assert len(tail._rounds) <= ROUNDS_KEPT


async def test_a_hub_that_reads_nothing_is_ended(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        desk.owner.start(spec("h1"))
        await desk.settle()
        for number in range(TELLS_WAITING + 2):  # none of them waits, so nothing is written in between
            desk.owner.tell(Decided(str(number), "cancelled"))
        await desk.settle()
        assert not desk.hubs.newest.alive
        assert desk.owner.is_idle


async def test_what_a_hub_left_is_read_in_parts(tmp_path: Any) -> None:
    text, count = "x" * 100_000, 60
    async with open_hubs(tmp_path) as hubs:
        folder = hubs.folder / HUB
        folder.mkdir(parents=True)
        events = [Reported(n, n, hub.TextPiece("t", "text", "b", text)) for n in range(1, count + 1)]
        (folder / "left").write_bytes(b"".join(map(encode, events[:40])))
        (folder / "spool").write_bytes(b"".join(map(encode, events[30:])))
        found: list[int] = []
        parts = 0
        while left := await hubs.reap(HUB, last_seq=found[-1] if found else 0):
            assert sum(len(encode(one)) for one in left) < LEFT_BYTES + 2 * len(text)
            found += [one.seq for one in left]
            parts += 1
        assert found == list(range(1, count + 1))
        assert parts > 2
        mailbox = Mailbox()
        owner = HubOwner("trip", hubs, mailbox, 1, lambda _: 0)
        owner.finish(HUB)
        heard: list[int] = []
        async with trio.open_nursery() as nursery:
            owner.serve_in(nursery)
            with trio.fail_after(40):  # noqa: ASYNC912 - waits until all was heard
                while not heard or heard[-1] < count:
                    await mailbox.wait()
                    for mail in mailbox.take_nowait():
                        heard += [one.seq for one in getattr(mail, "events", ())]
            nursery.cancel_scope.cancel()
        assert heard == found
