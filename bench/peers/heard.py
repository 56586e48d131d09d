"""What a device of each server hears, made alike: text, questions, ends. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import orjson

from bench.errors import BenchError
from bench.figures import percentile

__all__ = ["PARSERS", "Delays", "Heard", "delays_of", "missing_of", "parse"]


@attrs.frozen
class Heard:
    """One thing that a device learned.

    Attributes:
        text: further text of the answer; empty if it is something else.
        question: the id of a request that waits for a decision.
        ended: the turn is over.
    """

    text: str = ""
    question: str = ""
    ended: bool = False


@attrs.frozen
class Delays:
    """How late the words of an answer came. `updates`: in how many parts."""

    updates: int
    p50_ms: float
    p99_ms: float


def parse(server: str, line: bytes) -> list[Heard]:
    """Return what a line of a server's stream says. Anything that is not known says nothing."""
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError:
        return []
    return list(PARSERS[server](body)) if isinstance(body, dict) else []


def _ours(body: Mapping[str, Any]) -> Iterator[Heard]:
    kind = body.get("type")
    if kind == "message" and "seq" in body:
        yield Heard(text=body["content"])
    elif kind == "permission_requested":
        yield Heard(question=body["request_id"])
    elif kind in {"complete", "error", "interrupted"} and "seq" in body:
        yield Heard(ended=True)


def _bare(body: Mapping[str, Any]) -> Iterator[Heard]:
    delta = (body.get("event") or {}).get("delta") or {}
    if body.get("type") == "stream_event" and delta.get("type") == "text_delta":
        yield Heard(text=delta["text"])
    elif body.get("type") == "result":
        yield Heard(ended=True)


def _opencode(body: Mapping[str, Any]) -> Iterator[Heard]:
    told = body.get("properties") or {}
    match body.get("type"):
        case "message.part.delta" if told.get("field") == "text":
            yield Heard(text=told["delta"])
        case "permission.asked":
            yield Heard(question=told["id"])
        case "session.idle":
            yield Heard(ended=True)


def _hapi(body: Mapping[str, Any]) -> Iterator[Heard]:
    content = (
        ((body.get("message") or {}).get("content") or {}) if body.get("type") == "message-received" else {}
    )
    if content.get("role") == "agent":
        inner = content.get("content") or {}
        data = inner.get("data") or {}
        if inner.get("type") == "output" and data.get("type") == "assistant":
            for block in data["message"]["content"]:
                if block.get("type") == "text":
                    yield Heard(text=block["text"])
        elif inner.get("type") == "event" and data.get("type") == "ready":
            yield Heard(ended=True)
    state = (
        ((body.get("data") or {}).get("agentState") or {}) if body.get("type") == "session-updated" else {}
    )
    for request in (state.get("value") or {}).get("requests") or {}:
        yield Heard(question=request)


PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[Heard]]]] = {
    "builderos": _ours,
    "bare": _bare,
    "opencode": _opencode,
    "hapi": _hapi,
}


def delays_of(updates: Sequence[tuple[int, str]], stamps: Sequence[int]) -> Delays:
    """Return the delays of words `w0 w1 …`, given when each was sent by the model and when each update came.

    Args:
        updates: the time in microseconds and the text of each update, in order.
        stamps: when the model service sent each word, on the same clock.

    Raises:
        BenchError: a word is missing, or comes in another order.
    """
    text, late = "", []
    for at_us, more in updates:
        before = text.count(" ")  # each word ends with one
        text += more
        late += [(at_us - stamp) / 1000 for stamp in stamps[before : text.count(" ")]]
    if text.split() != [f"w{number}" for number in range(len(stamps))]:
        raise BenchError(f"{len(text.split())} words came of {len(stamps)}")
    return Delays(len(updates), percentile(late, 0.5), percentile(late, 0.99))


def missing_of(text: str, words: int) -> int:
    """Return how many of the words `w0 w1 …` a text lacks."""
    return len({f"w{number}" for number in range(words)} - set(text.split()))
