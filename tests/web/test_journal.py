"""The client's model of a session, alone: frames in, what there is to see out. In the browser, as ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.web.browser import Screen, Site

Json = dict[str, Any]

RUN = """async (steps) => {
    const { Journal } = await import("/js/journal.js");
    const { lineText } = await import("/js/pieces.js");
    const journal = new Journal("trip");
    const told = [];
    for (const [how, ...what] of steps) told.push(journal[how](...what));
    return { told, ...read(journal) };

    function read(journal) {
        const { entries, seq, state, complete, tasks, pending } = journal;
        const said = (line) => lineText(line, (id) => journal.nameOf(id)).join("\\n");
        const shown = entries.map((one, index) => ({
            seq: one.seq,
            kind: one.kind,
            text: one.text ?? one.blocks.map((block) => block.text).join(""),
            parts: (one.parts ?? []).map((part) => part.kind === "line" ? said(part) : part.name ?? part.text),
            state: one.state ?? one.status,
            html: one.html ?? null,
            gap: journal.gapAfter(index),
        }));
        return { shown, seq, state, complete, tasks: [...tasks.keys()], pending: [...pending.keys()] };
    }
}"""


def attached(head: int, **more: Any) -> Json:
    frame = {
        "epoch": 1,
        "head_seq": head,
        "from_seq": 1,
        "replay": "snapshot",
        "agent_type": "echo",
        "title": "",
    }
    return {
        **frame,
        "state": "idle",
        "devices": [],
        "read_seq": 0,
        "draft": "",
        "queue": [],
        "pending": [],
        **more,
    }


def event(seq: int, kind: str, turn: str | None = "t1", **more: Any) -> Json:
    fields = {"content": "", "device_id": "ipad", "timestamp": "2026-01-02T03:04:05.123Z", "epoch": 1}
    return {"type": kind, "seq": seq, "first_seq": seq, "turn_id": turn, **fields, **more}


def turn(first: int, text: str) -> list[Json]:
    """A whole turn of six events."""
    name, message = f"t{first}", f"m{first}"
    return [
        event(first, "user_message", name, message_id=message, content=text, attachments=[]),
        event(first + 1, "turn_started", name, message_id=message),
        event(first + 2, "delivery", name, message_id=message, state="consumed"),
        event(first + 3, "message", name, content=f"echo: {text}", block="0", offset=0),
        event(first + 4, "delivery", name, message_id=message, state="answered"),
        event(first + 5, "complete", name, message_count=2),
    ]


def past(seq: int, role: str, content: str, name: str) -> Json:
    entry = {"seq": seq, "role": role, "content": content, "timestamp": "2026-01-02T03:04:05.123Z"}
    more = {"message_id": f"m-{name}", "status": "answered"} if role == "user" else {"status": "complete"}
    return {
        **entry,
        "turn_id": name,
        "device_id": "ipad",
        "attachments": [],
        "html": f"<p>{content}</p>",
        **more,
    }


def follow(screen: Screen, frames: Iterable[Mapping[str, Any]], *, start: Json | None = None) -> Json:
    return run(screen, [["attached", start or attached(0)], *(["event", frame] for frame in frames)])


def run(screen: Screen, steps: list[list[Any]]) -> Json:
    found: Json = screen.page.evaluate(RUN, steps)
    return found


def session(epoch: int) -> list[list[Any]]:
    """The steps of a session with one turn."""
    frames = [{**frame, "epoch": epoch} for frame in turn(1, "x")]
    return [["attached", attached(6, epoch=epoch)], *(["event", frame] for frame in frames)]


@pytest.fixture
def screen(site: Site) -> Screen:
    return site.signed_in()


def test_a_turn_is_two_entries_in_the_journals_order(screen: Screen) -> None:
    found = follow(screen, turn(1, "hello"))
    assert [(one["kind"], one["text"], one["state"]) for one in found["shown"]] == [
        ("user", "hello", "answered"),
        ("answer", "echo: hello", "complete"),
    ]
    assert (found["seq"], found["state"]) == (6, "idle")


def test_pieces_live_joined_and_folded_give_the_same_text(screen: Screen) -> None:
    # Offsets count code points: the horse is one, and two units of JavaScript's strings.
    pieces = [
        event(3, "message", content="a 🐎", block="0", offset=0),
        event(4, "message", content=" eats", block="0", offset=3),
        event(6, "message", content=" eats hay 🐎!", block="0", offset=3, first_seq=5),
        event(8, "message", content="a 🐎 eats hay 🐎! Done.", block="0", offset=0, first_seq=7),
        event(9, "message", content=" Again.", block="0", offset=21),
    ]
    joined = follow(screen, [*turn(1, "x")[:2], *pieces[:3]])
    assert joined["shown"][1]["text"] == "a 🐎 eats hay 🐎!"
    found = follow(screen, [*turn(1, "x")[:2], *pieces])
    assert found["shown"][1]["text"] == "a 🐎 eats hay 🐎! Done. Again."


def test_a_gap_is_noticed_and_a_repeat_is_not_shown(screen: Screen) -> None:
    first = turn(1, "hello")
    twice = follow(screen, [*first, *first])
    assert twice["told"][1:] == [True] * 12
    assert len(twice["shown"]) == 2
    gap = follow(screen, [first[0], first[2]])
    assert gap["told"][1:] == [True, False]
    assert gap["seq"] == 1


def test_the_tail_of_a_turn_that_began_earlier_is_left_out(screen: Screen) -> None:
    tail = event(20, "message", "t-old", content="rest", block="0", offset=50)
    found = follow(screen, [tail, *turn(21, "new")], start=attached(26, from_seq=20))
    assert [one["text"] for one in found["shown"]] == ["new", "echo: new"]
    assert not found["complete"]


def test_decisions_and_tasks_come_and_go(screen: Screen) -> None:
    begun = [
        *turn(1, "x")[:2],
        event(3, "permission_requested", request_id="r1", tool="Bash", input={}, options=["allow"]),
        event(4, "task_started", task_id="k1", title="Look around", agent_type="codex", state="running"),
    ]
    waiting = follow(screen, begun)
    assert (waiting["state"], waiting["pending"], waiting["tasks"]) == ("waiting", ["r1"], ["k1"])
    ended = [
        event(5, "permission_resolved", request_id="r1", decision="deny", by_device="mac", note="no"),
        event(6, "complete", message_count=2),
    ]
    idle = follow(screen, [*begun, *ended])
    assert (idle["state"], idle["pending"], idle["tasks"]) == ("idle", [], ["k1"])
    assert idle["shown"][-1]["parts"] == ["Denied by mac\nBash\nno"]
    assert follow(screen, [*begun, *ended, *turn(7, "y")])["tasks"] == []


def test_pages_of_the_past_join_and_show_gaps(screen: Screen) -> None:
    start: list[Any] = ["attached", attached(46, from_seq=41)]
    live = [start, *(["event", frame] for frame in turn(41, "new"))]
    far = [past(1, "user", "one", "a"), past(2, "assistant", "echo: one", "a")]
    near = [past(21, "user", "two", "b"), past(22, "assistant", "echo: two", "b")]
    island = run(screen, [*live, ["page", far, {"before": 3, "more": False}]])
    assert [one["gap"] for one in island["shown"]] == [False, True, False, False]
    joined = run(
        screen,
        [*live, ["page", far, {"before": 3, "more": False}], ["page", near, {"after": 2, "more": True}]],
    )
    assert [one["gap"] for one in joined["shown"]] == [False, False, False, True, False, False]
    whole = run(
        screen,
        [
            *live,
            ["page", far, {"before": 3, "more": False}],
            ["page", near, {"before": 41, "more": True}],
            ["page", [*far, *near], {"before": 41, "more": False}],
        ],
    )
    assert [one["gap"] for one in whole["shown"]] == [False] * 6
    assert whole["complete"]
    assert whole["shown"][1]["html"] == "<p>echo: one</p>"


def test_a_snapshot_of_the_same_epoch_keeps_how_answers_look(screen: Screen) -> None:
    again = session(1)
    first = [*again, ["setHtml", "t1", "<p>x</p>"]]
    assert run(screen, [*first, *again])["shown"][1]["html"] == "<p>x</p>"
    assert run(screen, [*first, *session(2)])["shown"][1]["html"] is None


def test_a_queued_message_stands_at_the_end_and_joins_its_turn(screen: Screen) -> None:
    running = turn(1, "first")[:3]
    queued = [
        event(4, "user_message", "t2", message_id="m2", content="second", attachments=[]),
        event(5, "delivery", None, message_id="m2", state="queued"),
        event(6, "user_message", "t3", message_id="m3", content="third", attachments=[]),
        event(7, "delivery", None, message_id="m3", state="queued"),
        event(8, "message", "t1", content="echo: first", block="0", offset=0),
    ]
    waiting = follow(screen, [*running, *queued])
    assert [one["text"] for one in waiting["shown"]] == ["first", "echo: first", "second", "third"]
    ended = [
        event(9, "complete", "t1", message_count=2),
        event(10, "turn_started", "t2", message_id="m2"),
        event(11, "delivery", "t2", message_id="m2", state="handed"),
        event(12, "message", "t2", content="echo: second", block="0", offset=0),
    ]
    goes_on = follow(screen, [*running, *queued, *ended])
    texts = [one["text"] for one in goes_on["shown"]]
    assert texts == ["first", "echo: first", "second", "echo: second", "third"]


def test_a_steered_message_stands_in_the_turn_that_it_steered(screen: Screen) -> None:
    running = [*turn(1, "first")[:3], event(4, "message", "t1", content="a", block="0", offset=0)]
    steered = event(5, "user_message", "t1", message_id="m2", content="also that", attachments=[])
    later = event(6, "user_message", "t9", message_id="m3", content="later", attachments=[])
    waits = event(7, "delivery", None, message_id="m3", state="queued")
    found = follow(screen, [*running, steered, later, waits])
    assert [one["text"] for one in found["shown"]] == ["first", "also that", "a", "later"]


def test_a_withdrawn_message_stays_where_it_was_written(screen: Screen) -> None:
    frames = [
        *turn(1, "first")[:3],
        event(4, "user_message", "t2", message_id="m2", content="no", attachments=[]),
        event(5, "delivery", None, message_id="m2", state="queued"),
        event(6, "user_message", "t3", message_id="m3", content="yes", attachments=[]),
        event(7, "delivery", None, message_id="m3", state="queued"),
        event(8, "delivery", None, message_id="m2", state="cancelled"),
        event(9, "complete", "t1", message_count=1),
        event(10, "turn_started", "t3", message_id="m3"),
    ]
    found = follow(screen, frames)
    assert [one["text"] for one in found["shown"]] == ["first", "", "no", "yes", ""]


def test_text_and_tools_keep_the_order_in_which_they_came(screen: Screen) -> None:
    def tool(seq: int, name: str, parent: str | None = None) -> Json:
        call = {"tool_id": f"c{seq}", "name": name, "input": {"n": seq}, "parent_tool_id": parent}
        return event(seq, "tool_started", "t1", **call)

    frames = [
        *turn(1, "x")[:3],
        event(4, "message", "t1", content="I'll look first.", block="a", offset=0),
        tool(5, "Read"),
        event(6, "message", "t1", content="Now I change it.", block="b", offset=0),
        tool(7, "Edit"),
        tool(8, "Bash", "c7"),
        event(9, "permission_requested", "t1", request_id="r", tool="Edit", input={"n": 7}, options=[]),
        event(10, "permission_resolved", "t1", request_id="r", decision="allow", by_device="mac", note=None),
        event(11, "notice", "t1", content="Tries again.", code="retry", attempt=2, retry_in_s=1),
    ]
    answer = follow(screen, frames)["shown"][1]
    # The inner call stands in its own call, the decision at the call that it was about, and a try passes.
    assert answer["parts"] == ["I'll look first.", "Read", "Now I change it.", "Edit"]
