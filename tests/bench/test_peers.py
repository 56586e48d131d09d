"""The comparison with other servers: what their streams say, what is counted of it, and the table."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.errors import BenchError
from bench.peers.heard import Delays, Heard, delays_of, missing_of, parse
from bench.peers.table import FIGURES, markdown


def hapi_says(inner: dict[str, Any], role: str = "agent") -> dict[str, Any]:
    return {"type": "message-received", "message": {"content": {"role": role, "content": inner}}}


def hapi_writes(*blocks: dict[str, str]) -> dict[str, Any]:
    return hapi_says({"type": "output", "data": {"type": "assistant", "message": {"content": list(blocks)}}})


def opencode_says(kind: str, **told: str) -> dict[str, Any]:
    return {"type": kind, "properties": told}


def delta(kind: str) -> dict[str, Any]:
    return {"type": "stream_event", "event": {"delta": {"type": kind, "text": "a "}}}


HAPI_ASKS = {
    "type": "session-updated",
    "data": {"agentState": {"value": {"requests": {"r": {"tool": "Bash"}}}}},
}


@pytest.mark.parametrize(
    ("server", "body", "heard"),
    [
        ("builderos", {"type": "message", "seq": 3, "content": "a "}, [Heard(text="a ")]),
        ("builderos", {"type": "permission_requested", "seq": 4, "request_id": "r"}, [Heard(question="r")]),
        ("builderos", {"type": "complete", "seq": 5}, [Heard(ended=True)]),
        ("builderos", {"type": "heartbeat"}, []),
        ("bare", delta("text_delta"), [Heard(text="a ")]),
        ("bare", delta("signature_delta"), []),
        ("bare", {"type": "result"}, [Heard(ended=True)]),
        ("opencode", opencode_says("message.part.delta", field="text", delta="a "), [Heard(text="a ")]),
        ("opencode", opencode_says("message.part.delta", field="reasoning", delta="a "), []),
        ("opencode", opencode_says("permission.asked", id="r"), [Heard(question="r")]),
        ("opencode", opencode_says("session.idle"), [Heard(ended=True)]),
        ("hapi", hapi_writes({"type": "text", "text": "a "}, {"type": "tool_use"}), [Heard(text="a ")]),
        ("hapi", hapi_says({"type": "text", "text": "words 5"}, role="user"), []),
        ("hapi", hapi_says({"type": "event", "data": {"type": "ready"}}), [Heard(ended=True)]),
        ("hapi", HAPI_ASKS, [Heard(question="r")]),
        ("hapi", {"type": "session-updated", "data": {"thinking": True}}, []),
    ],
)
def test_streams_are_made_alike(server: str, body: dict[str, Any], heard: list[Heard]) -> None:
    assert parse(server, orjson.dumps(body)) == heard


@pytest.mark.parametrize("line", [b"", b"id: 7", b": comment", b"[1]", b"{"])
def test_other_lines_say_nothing(line: bytes) -> None:
    for server in ("builderos", "bare", "opencode", "hapi"):
        assert parse(server, line) == []


def test_a_word_is_as_late_as_its_update() -> None:
    stamps = [1000, 2000, 3000]
    assert delays_of([(2000, "w0 "), (3500, "w1 w"), (9000, "2 ")], stamps) == Delays(3, 1.5, 6.0)
    for wrong in ([(1, "w0 w1 ")], [(1, "w0 w2 w1 ")], [(1, "w0 w1 w2 w3 ")]):
        with pytest.raises(BenchError):
            delays_of(wrong, stamps)


def test_words_that_are_missing() -> None:
    assert missing_of("w0 w1 w1 w3", 5) == 2
    assert missing_of("", 3) == 3


def test_the_table_leaves_nothing_out() -> None:
    results = {
        "ours": {figure.key: f"1 {figure.key}" for figure in FIGURES},
        "other": {"p50": "— (it broke)"},
    }
    lines = markdown(list(results), results).splitlines()
    assert lines[0] == "| figure | ours | other |"
    rows = [line for line in lines[2:] if line.startswith("|")]
    assert len(rows) == len(FIGURES)
    assert "| delay of a word, p50 | 1 p50 | — (it broke) |" in rows
    assert sum("not measured" in row for row in rows) == len(FIGURES) - 1
    assert sum(line.startswith("- ") for line in lines) == len(FIGURES)
