"""Every event becomes a frame that an older client survives, and none is too large."""

from __future__ import annotations

from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from actors.events.committed import Committed, Event
from actors.events.conversation import (
    Attachment,
    BlockDropped,
    BranchLeft,
    Complete,
    Delivery,
    Interrupted,
    Message,
    Notice,
    Thinking,
    TurnError,
    TurnStarted,
    Usage,
    UserMessage,
)
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import Checkpoint, LeftOut, SessionUpdated, Undone, UndoStarted
from actors.events.work import (
    PlanEntry,
    PlanUpdated,
    TaskFinished,
    TaskProgress,
    TaskStarted,
    ToolFinished,
    ToolStarted,
)
from actors.tail import EventBatch
from transport.v3.events import encode_event, encode_round, timestamp
from transport.websocket.frames import MAX_FRAME_BYTES, is_close, text_frame

HUGE = "\x01" * 600_000
SAMPLES: list[Event] = [
    UserMessage("m", "hi", (Attachment("1", "a.png", "image/png", 3, "image", "/u"),)),
    Delivery("m", "queued"),
    TurnStarted("m"),
    Message("text", "b", 3),
    Thinking("hm", "b", 0),
    ToolStarted("t", "Bash", {"command": "ls"}),
    ToolFinished("t", "Bash", "out", is_error=False, duration_ms=3),
    PermissionRequested("r", "Bash", {"command": "ls"}, ("allow", "deny")),
    PermissionResolved("r", "deny", "ipad", "no"),
    TaskStarted("k", "title", "codex"),
    TaskProgress("k", "title", "codex", "half"),
    TaskFinished("k", "title", "codex", "succeeded", "done"),
    Notice("retry", "again", 1, 2.5),
    Complete(2, 4, "00", Usage(1, 2)),
    TurnError("timeout", "too long", retryable=True),
    Interrupted(None),
    SessionUpdated(title="T"),
    Checkpoint("turn", "c1", "after", 2, 3, 1, late=True, left_out=(LeftOut("a.bin", "big"),)),
    UndoStarted("u1", "turn", "ipad", "c2"),
    Undone("u1", ("a.py",), ("b.py",)),
    BlockDropped("1"),
    BranchLeft(("turn",)),
    PlanUpdated((PlanEntry("one", "pending"),)),
]


def committed(event: Event, seq: int = 7) -> Committed:
    return Committed(seq, seq, 1_700_000_000_123, "turn", "ipad", event)


def frame(event: Event) -> dict[str, Any]:
    body = orjson.loads(encode_event("trip", 2, committed(event)))
    assert isinstance(body, dict)
    return body


def test_there_is_a_sample_of_each_kind() -> None:
    assert {type(sample) for sample in SAMPLES} == set(get_args(Event))


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.kind)
def test_each_kind_has_what_every_frame_has(event: Event) -> None:
    body = frame(event)
    assert body["type"] == event.kind
    assert isinstance(body["content"], str)
    assert body["content"]
    assert body["timestamp"] == "2023-11-14T22:13:20.123Z"
    rest = {name: body[name] for name in ("session_id", "epoch", "seq", "first_seq", "turn_id", "device_id")}
    assert rest == {
        "session_id": "trip",
        "epoch": 2,
        "seq": 7,
        "first_seq": 7,
        "turn_id": "turn",
        "device_id": "ipad",
    }


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (SAMPLES[0], {"message_id": "m", "content": "hi"}),
        (SAMPLES[3], {"content": "text", "block": "b", "offset": 3}),
        (SAMPLES[5], {"tool_id": "t", "name": "Bash", "input": {"command": "ls"}, "parent_tool_id": None}),
        (SAMPLES[6], {"output": "out", "is_error": False, "duration_ms": 3}),
        (
            Checkpoint("t", "c1", "after", 2, 3, 1, left_out=(LeftOut("a.bin", "big"),)),
            {
                "of_turn": "t",
                "checkpoint_id": "c1",
                "position": "after",
                "files": 2,
                "added": 3,
                "removed": 1,
                "late": False,
                "left_out": [{"path": "a.bin", "reason": "big"}],
            },
        ),
        (
            UndoStarted("u1", "t", "ipad", "c2"),
            {"undo_id": "u1", "turn_id": "t", "by_device": "ipad", "checkpoint_id": "c2"},
        ),
        (Undone("u1", ("a.py",), ("b.py",)), {"undo_id": "u1", "files": ["a.py"], "conflicts": ["b.py"]}),
        (SAMPLES[7], {"request_id": "r", "tool": "Bash", "options": ["allow", "deny"]}),
        (SAMPLES[8], {"decision": "deny", "by_device": "ipad", "note": "no", "answers": None}),
        (SAMPLES[10], {"content": "half", "state": "running", "result": None, "parent_task_id": None}),
        (SAMPLES[11], {"state": "succeeded", "result": "done", "agent_type": "codex"}),
        (SAMPLES[12], {"code": "retry", "content": "again", "attempt": 1, "retry_in_s": 2.5}),
        (
            SAMPLES[13],
            {"message_count": 2, "usage": {"input_tokens": 1, "output_tokens": 2}, "text_length": 4},
        ),
        (SAMPLES[14], {"code": "timeout", "content": "too long", "retryable": True}),
        (SAMPLES[16], {"title": "T"}),
    ],
)
def test_the_fields_of_a_kind(event: Event, fields: dict[str, Any]) -> None:
    body = frame(event)
    assert {name: body[name] for name in fields} == fields


def test_a_request_has_its_kind_and_always_a_title() -> None:
    request = PermissionRequested(
        "r", "Edit", {}, ("allow",), about="edit", title="Edit a", modes=("auto",), diff=[], editable=("x",)
    )
    body = frame(request)
    told = {name: body[name] for name in ("kind", "title", "content", "modes", "diff", "editable")}
    assert told == {
        "kind": "edit", "title": "Edit a", "content": "Edit a", "modes": ["auto"], "diff": [], "editable": ["x"]
    }  # fmt: skip
    assert "about" not in body
    older = frame(SAMPLES[7])
    assert (older["kind"], older["title"]) == ("other", "Bash asks for permission.")


def test_a_decision_tells_what_was_changed() -> None:
    body = frame(PermissionResolved("r", "allow", "ipad", input={"command": "id"}, mode="plan"))
    assert (body["input"], body["mode"]) == ({"command": "id"}, "plan")
    assert not {"input", "mode"} & frame(SAMPLES[8]).keys()


def test_what_is_not_there_is_left_out() -> None:
    assert "diff" not in frame(SAMPLES[7])
    assert "blob" not in frame(SAMPLES[5])
    assert "questions" not in frame(SAMPLES[7])
    assert "failed" not in frame(SAMPLES[16])
    assert "progress" not in frame(SAMPLES[10])


@pytest.mark.parametrize(
    "event",
    [
        PermissionRequested("r", "T", {"a": HUGE}, ("allow",), [HUGE]),
        PermissionResolved("r", "allow", None, HUGE, {"q": HUGE}),
        TaskFinished(HUGE, HUGE, HUGE, "failed", HUGE, HUGE),
        ToolStarted("t", HUGE, {"a": HUGE}, None, {"url": HUGE}),
        UserMessage("m", HUGE, tuple(Attachment(HUGE, HUGE, "m", 1, "t", "u") for _ in range(2))),
    ],
    ids=lambda event: event.kind,
)
def test_no_frame_is_too_large(event: Event) -> None:
    text = encode_event("trip", 1, committed(event))
    assert len(text) <= MAX_FRAME_BYTES
    assert orjson.loads(text)["seq"] == 7


def test_the_longest_piece_goes_out_whole() -> None:
    content = "\x01" * (256 * 1024 // 6)
    assert frame(Message(content, "b", 0))["content"] == content


def test_a_round_is_encoded_once() -> None:
    one = EventBatch("trip", 1, (committed(SAMPLES[3], 1), committed(SAMPLES[13], 2)))
    assert encode_round(one) is encode_round(one)


@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=4), st.data())
def test_frames_are_what_a_client_reads(sizes: list[int], data: st.DataObject) -> None:
    texts = [b"x" * size for size in sizes]
    line = b"".join(map(text_frame, texts))
    cut = data.draw(st.integers(0, len(line)))
    reader = FrameProtocol(client=True, extensions=[])
    payloads: list[str] = [""]
    for part in (line[:cut], line[cut:]):
        reader.receive_bytes(part)
        for found in reader.received_frames():
            assert isinstance(found.payload, str)
            payloads[-1] += found.payload
            if found.message_finished:
                payloads.append("")
    assert [payload.encode() for payload in payloads[:-1]] == texts


def test_a_close_frame_is_known() -> None:
    assert is_close(FrameProtocol(client=False, extensions=[]).close(1001, "later"))
    assert not is_close(FrameProtocol(client=False, extensions=[]).pong(b""))
    assert not is_close(text_frame(b"x"))
    assert not is_close(b"HTTP/1.1 101 ")
    assert not is_close(b"")


@pytest.mark.parametrize(
    ("at_ms", "text"), [(0, "1970-01-01T00:00:00.000Z"), (1_709_210_096_007, "2024-02-29T12:34:56.007Z")]
)
def test_timestamps(at_ms: int, text: str) -> None:
    assert timestamp(at_ms) == text
