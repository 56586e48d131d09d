"""Any text gives a frame or `WireError`, nothing else; what is given is what was sent."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.v3.client_frames import (
    AttachFrame,
    ClientFrame,
    DecideFrame,
    Position,
    SendFrame,
    SettingsAsked,
)
from transport.v3.decode import FRAME_TYPES, WireError, decode

ATTACH = {"type": "attach", "session_id": "trip"}
DECIDE = {"type": "decide", "session_id": "t", "request_id": "r", "decision": "allow"}
SEND = {"type": "send", "session_id": "trip", "message_id": "m", "content": "c"}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
field_names = sorted(
    {"type", "epoch", "seq", "url", *(f for c in FRAME_TYPES.values() for f in c.__annotations__)}
)


def check_invariant(text: str | bytes) -> ClientFrame | None:
    try:
        return decode(text)
    except WireError:
        return None


def decoded(body: dict[str, Any]) -> object:
    return decode(orjson.dumps(body))


def wrong(body: dict[str, Any]) -> WireError:
    with pytest.raises(WireError) as caught:
        decoded(body)
    return caught.value


@given(st.binary() | st.text())
def test_any_text_gives_a_frame_or_a_wire_error(text: str | bytes) -> None:
    check_invariant(text)


@given(
    st.sampled_from(sorted(FRAME_TYPES)),
    st.dictionaries(
        st.sampled_from(field_names), anything | st.sampled_from(["trip", "allow", "queue", {}, []])
    ),
)
def test_any_object_gives_a_frame_or_a_wire_error(kind: str, body: dict[str, Any]) -> None:
    try:
        text = orjson.dumps({**body, "type": kind})
    except TypeError:
        return  # no JSON that anybody can send
    frame = check_invariant(text)
    assert frame is None or frame.name == kind


def test_a_full_attach() -> None:
    frame = decoded(
        {
            **ATTACH,
            "agent": "claude",
            "device_id": "ipad",
            "after": {"epoch": 1, "seq": 120, "more": 1},
            "history": 5,
            "observe": True,
            "pace_ms": 250,
            "settings": {"model": "m"},
            "html": True,
            "unknown": [1],
        }
    )
    assert isinstance(frame, AttachFrame)
    assert frame.after == Position(1, 120)
    assert frame.settings == SettingsAsked(None, "m", None)  # type: ignore[arg-type]
    assert (frame.agent, frame.device_id, frame.history, frame.observe, frame.pace_ms) == (
        "claude",
        "ipad",
        5,
        True,
        250,
    )


def test_defaults() -> None:
    frame = decoded(SEND)
    assert isinstance(frame, SendFrame)
    assert (frame.attachments, frame.if_head, frame.mode) == ((), None, "queue")
    attach = decoded(ATTACH)
    assert isinstance(attach, AttachFrame)
    assert (attach.history, attach.observe, attach.pace_ms) == (50, False, 0)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"type": "nonsense"}, "$.type"),
        ({}, "$.type"),
        ({"type": ["send"]}, "$.type"),
        ({"type": "attach"}, "$.session_id"),
        ({**ATTACH, "session_id": 7}, "$.session_id"),
        ({**ATTACH, "session_id": ""}, "$.session_id"),
        ({**ATTACH, "session_id": "a/b"}, "$.session_id"),
        ({**ATTACH, "session_id": "a\n"}, "$.session_id"),
        ({**ATTACH, "session_id": "x" * 129}, "$.session_id"),
        ({**ATTACH, "device_id": "\N{GREEK SMALL LETTER ALPHA}"}, "$.device_id"),
        ({**ATTACH, "observe": 1}, "$.observe"),
        ({**ATTACH, "observe": None}, "$.observe"),
        ({**ATTACH, "history": 1001}, "$.history"),
        ({**ATTACH, "history": True}, "$.history"),
        ({**ATTACH, "history": 1.0}, "$.history"),
        ({**ATTACH, "pace_ms": 10_001}, "$.pace_ms"),
        ({**ATTACH, "after": {"epoch": 1}}, "$.after.seq"),
        ({**ATTACH, "after": {"epoch": 1, "seq": 2**63}}, "$.after.seq"),
        ({**ATTACH, "after": [1, 2]}, "$.after"),
        ({**ATTACH, "settings": []}, "$.settings"),
        ({**ATTACH, "settings": {"workspace": "a\0b"}}, "$.settings.workspace"),
        ({**ATTACH, "settings": {"model": 1}}, "$.settings.model"),
        ({**SEND, "content": None}, "$.content"),
        ({**SEND, "message_id": ""}, "$.message_id"),
        ({**SEND, "message_id": "x" * 129}, "$.message_id"),
        ({**SEND, "message_id": 5}, "$.message_id"),
        ({**SEND, "mode": "now"}, "$.mode"),
        ({**SEND, "mode": ["queue"]}, "$.mode"),
        ({**SEND, "attachments": {}}, "$.attachments"),
        ({**SEND, "attachments": [1]}, "$.attachments"),
        ({**SEND, "attachments": [{"url": "u"}] * 33}, "$.attachments"),
        ({"type": "decide", "session_id": "t", "request_id": "r", "decision": "cancelled"}, "$.decision"),
        ({**DECIDE, "mode": 1}, "$.mode"),
        ({**DECIDE, "input": "ls"}, "$.input"),
        ({**DECIDE, "input": {"command": "x" * 65536}}, "$.input"),
        ({"type": "mark_read", "session_id": "t", "seq": "1"}, "$.seq"),
    ],
)
def test_what_is_wrong_and_where(body: dict[str, Any], path: str) -> None:
    assert wrong(body).path == path


@pytest.mark.parametrize("message_id", ["x", "a b/c:1", "\N{PARTY POPPER}" * 128, "\0"])
def test_a_message_id_is_any_text(message_id: str) -> None:
    frame = decoded({**SEND, "message_id": message_id})
    assert isinstance(frame, SendFrame)
    assert frame.message_id == message_id


def test_the_session_is_named_where_it_is_known() -> None:
    assert wrong({**SEND, "content": 1}).session_id == "trip"
    assert wrong({**SEND, "session_id": "a b"}).session_id is None


@pytest.mark.parametrize(
    "text",
    [
        r'{"type":"send","session_id":"t","message_id":"m","content":"\ud800"}',
        '{"type":"ping"',
        '{"type":"ping","x":NaN}',
        "[" * 2000,
        '{"a":' * 2000,
        b"\xff\xfe",
        "",
    ],
)
def test_what_is_no_json(text: str | bytes) -> None:
    with pytest.raises(WireError):
        decode(text)


def test_answers_are_taken_as_they_are() -> None:
    body = {
        "type": "decide",
        "session_id": "t",
        "request_id": "r",
        "decision": "allow",
        "answers": {"q": ["a", 1]},
    }
    frame = decoded(body)
    assert isinstance(frame, DecideFrame)
    answers: object = frame.answers
    assert answers == {"q": ["a", 1]}


def nested(depth: int, inside: object) -> object:
    for _ in range(depth):
        inside = [inside] if depth % 2 else {"q": inside}
    return inside


@pytest.mark.parametrize("inside", [1, [], {}])
@pytest.mark.parametrize("depth", [33, 34, 200])
def test_answers_may_be_nested_only_so_deep(depth: int, inside: object) -> None:
    body = {"type": "decide", "session_id": "t", "request_id": "r", "decision": "allow"}
    own = 0 if inside == 1 else 1
    frame = decoded({**body, "answers": nested(32 - own, inside)})
    assert isinstance(frame, DecideFrame)
    wrong_one = wrong({**body, "answers": nested(depth - own, inside)})
    assert (wrong_one.path, wrong_one.session_id) == ("$.answers", "t")


@pytest.mark.parametrize("depth", [33, 300, 1000])
def test_answers_that_could_not_be_written_again(depth: int) -> None:
    start = '{"type":"decide","session_id":"t","request_id":"r","decision":"allow","answers":'
    with pytest.raises(WireError) as caught:
        decode(start + "[" * depth + "]" * depth + "}")
    assert caught.value.path == "$.answers"


def test_a_key_is_not_shown() -> None:
    assert "s3cret" not in repr(decoded({"type": "auth", "token": "s3cret"}))


def test_a_decision_needs_a_word_or_an_option() -> None:
    body = {"type": "decide", "session_id": "t", "request_id": "r"}
    frame = decoded({**body, "option": "Always in this folder"})
    assert isinstance(frame, DecideFrame)
    assert (frame.decision, frame.option) == (None, "Always in this folder")
    assert wrong(body).path == "$.decision"


@pytest.mark.parametrize("name", ["mac-mini", "2", "a" * 31])
def test_a_machine_is_named(name: str) -> None:
    asked = decoded(ATTACH | {"settings": {"node": name}})
    assert isinstance(asked, AttachFrame)
    assert asked.settings is not None
    assert asked.settings.node == name


@pytest.mark.parametrize("name", ["", "self", "a" * 32, "-a", "A", "a b", "a\n", "ä", 7, True, ["a"]])
def test_what_is_no_name_of_a_machine(name: object) -> None:
    assert wrong(ATTACH | {"settings": {"node": name}}).path == "$.settings.node"
