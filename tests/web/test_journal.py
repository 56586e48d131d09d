"""The client's model of a session, alone: frames in, what there is to see out. In the browser, as ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.web.world import Screen, Site

Json = dict[str, Any]

RUN = """async (steps) => {
    const { Journal } = await import("/js/journal.js");
    const journal = new Journal("trip");
    const told = [];
    for (const [how, ...what] of steps) told.push(journal[how](...what));
    return { told, ...read(journal) };

    function read({ entries, seq, state, complete, tasks, pending }) {
        const shown = entries.map((one) => ({
            seq: one.seq,
            kind: one.kind,
            text: one.text ?? one.blocks.map((block) => block.text).join(""),
            state: one.state ?? one.status,
            html: one.html ?? null,
            gap: one.gapAfter ?? false,
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


def test_a_missing_event_is_noticed_and_one_that_comes_twice_is_not_shown_twice(screen: Screen) -> None:
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
        event(4, "task_started", task_id="k1", title="ReadinessProbe", agent_type="codex", state="running"),
    ]
    waiting = follow(screen, begun)
    assert (waiting["state"], waiting["pending"], waiting["tasks"]) == ("waiting", ["r1"], ["k1"])
    ended = [
        event(5, "permission_resolved", request_id="r1", decision="deny", by_device="mac", note="no"),
        event(6, "complete", message_count=2),
    ]
    idle = follow(screen, [*begun, *ended])
    assert (idle["state"], idle["pending"], idle["tasks"]) == ("idle", [], ["k1"])
    assert idle["shown"][-1]["text"] == "Denied by mac\nno"
    assert follow(screen, [*begun, *ended, *turn(7, "y")])["tasks"] == []


def test_pages_of_the_past_join_and_say_where_something_is_missing(screen: Screen) -> None:
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
