"""Any message goes through a line unharmed; any bytes give a message or `LinkError`, nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridgehub.protocol.codec import (
    LineBuffer,
    decode_from_hub,
    decode_spec,
    decode_to_hub,
    encode,
    json_size,
)
from bridgehub.protocol.errors import LinkError
from bridgehub.protocol.events import (
    Noticed,
    PermissionAsked,
    TaskEnded,
    TextPiece,
    ToolBegan,
    ToolEnded,
    TurnDone,
    TurnFailed,
)
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import (
    Ack,
    Decided,
    Detach,
    FromHub,
    Hello,
    InterruptTurn,
    Prompt,
    Refused,
    Reported,
    Stop,
    ToHub,
    Welcome,
)

TO_HUB: list[ToHub] = [
    Hello(1, "s", 3, 4),
    Prompt("t", "m", "say\nthis", 7, ({"path": "/a", "size": 3},)),
    InterruptTurn("t"),
    Decided("r", "allow", "fine", {"q": ["a"]}),
    Decided("r", "allow", input={"command": "ls"}, mode="acceptEdits"),
    Decided("r", "cancelled"),
    Ack(9),
    Detach(),
    Stop(),
]
FROM_HUB: list[FromHub] = [
    Welcome(1, "h", 42, "t", running=True, waiting=("r1", "r2"), can_steer=True),
    Welcome(1, "h", 42, None, running=False, waiting=()),
    Refused("fenced", "owner epoch 3"),
    Reported(5, 3, TextPiece("t", "text", "b", 'a "word" \n ü 🙂')),
    Reported(5, 5, TextPiece("t", "thinking", "b", "")),
    Reported(6, 6, ToolBegan("t", "x", "Bash", {"command": "ls", "deep": [1, 2.5, None, True]})),
    Reported(7, 7, ToolEnded("t", "x", "Bash", "out", is_error=False, duration_ms=3, blob={"size": 1})),
    Reported(8, 8, PermissionAsked("t", "r", "Bash", None, ("allow", "deny"), [{"q": 1}])),
    Reported(
        8,
        8,
        PermissionAsked(
            "t",
            "r",
            "Bash",
            {},
            (),
            kind="command",
            title="Run ls",
            modes=("auto",),
            diff=[],
            editable=("a",),
        ),
    ),
    Reported(9, 9, TaskEnded("t", "k", "succeeded", "done")),
    Reported(9, 9, Noticed(None, "api_retry", "again", 1, 2.5)),
    Reported(10, 10, TurnDone("t", 1, 2, None, 0.25)),
    Reported(10, 10, TurnFailed("t", "model_error", "no", retryable=True)),
]


@pytest.mark.parametrize("message", TO_HUB)
def test_server_messages_survive(message: ToHub) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_to_hub(line[:-1]) == message


@pytest.mark.parametrize("message", FROM_HUB)
def test_hub_messages_survive(message: FromHub) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode_from_hub(line[:-1]) == message


def test_spec_survives() -> None:
    spec = HubSpec("h", "s", "echo", "echo", "/f", "/f/s", "/w", {"A": "b"}, {"x": [1]}, "uuid", "m")
    assert decode_spec(encode(spec)) == spec


@pytest.mark.parametrize(
    ("line", "code", "path"),
    [
        (b"no json", "not_json", ""),
        (b"[1]", "not_json", ""),
        (b"{}", "unknown_type", ".type"),
        (b'{"type":["hello"]}', "unknown_type", ".type"),
        (b'{"type":"sing"}', "unknown_type", ".type"),
        (b'{"type":"ack","seq":"7"}', "bad_field", ".seq"),
        (b'{"type":"ack","seq":true}', "bad_field", ".seq"),
        (b'{"type":"ack","seq":18446744073709551616}', "bad_field", ".seq"),
        (b'{"type":"decided","request_id":"r","decision":"perhaps"}', "bad_field", ".decision"),
    ],
)
def test_bad_lines_are_told_apart(line: bytes, code: str, path: str) -> None:
    with pytest.raises(LinkError) as caught:
        decode_to_hub(line)
    assert (caught.value.code, caught.value.path) == (code, path)


def test_path_leads_into_lists() -> None:
    line = encode(Welcome(1, "h", 1, None, running=False, waiting=("r",))).replace(b'"r"', b"1")
    with pytest.raises(LinkError) as caught:
        decode_from_hub(line)
    assert caught.value.path == ".waiting[0]"


@pytest.mark.parametrize(
    "seqs", ['"seq":1,"first_seq":2', '"seq":0,"first_seq":0', '"seq":true,"first_seq":1']
)
def test_numbers_of_an_event_are_checked(seqs: str) -> None:
    line = f'{{"type":"reported",{seqs},"event":{{"type":"consumed","turn_id":"t"}}}}'.encode()
    with pytest.raises(LinkError):
        decode_from_hub(line)


def test_unknown_event_becomes_a_notice() -> None:
    line = b'{"type":"reported","seq":4,"first_seq":4,"event":{"type":"sang","turn_id":"t","song":1}}'
    assert decode_from_hub(line) == Reported(4, 4, Noticed("t", "unknown_event", "sang"))


def test_unknown_fields_are_ignored() -> None:
    assert decode_to_hub(b'{"type":"ack","seq":3,"mood":"good"}') == Ack(3)


def test_what_json_cannot_hold_is_replaced() -> None:
    line = encode(Reported(1, 1, TextPiece("t", "text", "b", "a\ud800b")))
    assert decode_from_hub(line) == Reported(1, 1, TextPiece("t", "text", "b", "a\ufffdb"))
    odd: Any = {"n": 2**70, 3: object, "deep": "\udfff"}
    decoded = decode_from_hub(encode(Reported(1, 1, ToolBegan("t", "x", "n", odd))))
    assert isinstance(decoded, Reported)
    assert isinstance(decoded.event, ToolBegan)
    assert decoded.event.input == {"n": str(2**70), "3": str(object), "deep": "\ufffd"}


@given(st.text())
def test_json_size_is_that_of_the_text(text: str) -> None:
    assert json_size(text) == len(orjson.dumps(text)) - 2


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_a_message_or_an_error(data: bytes) -> None:
    for decode in (decode_to_hub, decode_from_hub, decode_spec):
        with suppress(LinkError):
            decode(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(TO_HUB + FROM_HUB), st.data())
def test_one_broken_field_gives_a_message_or_an_error(message: ToHub | FromHub, data: st.DataObject) -> None:
    raw = orjson.loads(encode(message))
    target = raw["event"] if "event" in raw and data.draw(st.booleans()) else raw
    name = data.draw(st.sampled_from(sorted(target)))
    target[name] = data.draw(_JSON.filter(_fits_json))
    line = orjson.dumps(raw)
    for decode in (decode_to_hub, decode_from_hub):
        with suppress(LinkError):
            decode(line)


def _fits_json(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_come_out_however_the_bytes_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    buffer, out = LineBuffer(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        out += buffer.feed(stream[:cut])
        stream = stream[cut:]
    assert out == lines
    assert buffer.pending == 0


def test_a_line_over_the_limit_is_an_error() -> None:
    assert LineBuffer(8).feed(b"12345678\n") == [b"12345678"]
    for data in (b"123456789\n", b"123456789", b"1\n123456789\n1\n"):
        with pytest.raises(LinkError, match="too_long"):
            LineBuffer(8).feed(data)
    buffer = LineBuffer(8)
    buffer.feed(b"12345")
    with pytest.raises(LinkError, match="too_long"):
        buffer.feed(b"6789")
