"""What is kept of a relay's output: the last payload line of stdout, the end of stderr. No I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import attrs
import orjson

from bridgehub.protocol.messages import PastMessage

__all__ = [
    "MAX_ARGUMENT_BYTES",
    "MAX_LINE_BYTES",
    "PAYLOAD",
    "VERSION",
    "Fitted",
    "LastWords",
    "LineTooLong",
    "MessageTooLong",
    "Order",
    "PayloadFinder",
    "RelayReply",
    "fit_request",
    "read_payload",
]

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Bytes of a payload line: the answer and twice the history. Other lines are dropped at once."""

LAST_WORDS_BYTES = 2048
"""Bytes of stderr that an error shows."""


class LineTooLong(Exception):
    """A payload line exceeds the limit."""


@attrs.define(eq=False)
class PayloadFinder:
    """Finds the last payload line in a stream. Memory is constant except for that line."""

    limit_bytes: int = MAX_LINE_BYTES
    payload: bytes | None = None
    _line: bytearray = attrs.field(factory=bytearray)
    _skipping: bool = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises LineTooLong."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            self._end_line()
            start = end + 1
        self._add(data[start:])

    def finish(self) -> bytes | None:
        """Take the end of the stream. Return the last payload, None if there was none."""
        self._end_line()
        return self.payload

    def _add(self, part: bytes) -> None:
        if self._skipping:
            return
        self._line += part
        length = len(self._line)
        if not PAYLOAD.startswith(bytes(self._line[: len(PAYLOAD)])) and length:
            self._skipping = True
            self._line.clear()
        elif length > self.limit_bytes + len(PAYLOAD):
            raise LineTooLong

    def _end_line(self) -> None:
        if self._line.startswith(PAYLOAD):
            self.payload = bytes(self._line[len(PAYLOAD) :])
        self._line = bytearray()
        self._skipping = False


@attrs.define(eq=False)
class LastWords:
    """The end of a stream."""

    _kept: bytearray = attrs.field(factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._kept += data[-LAST_WORDS_BYTES:]
        del self._kept[:-LAST_WORDS_BYTES]

    def text(self) -> str:
        """Return them as text for an error."""
        return self._kept.decode(errors="replace").replace("\0", "").strip()


VERSION = "bridgehub/1.0"

PAYLOAD = b"JARVIS_PAYLOAD="
"""How the line with the answer begins."""

SOURCE = "builderos_mobile"
"""A relay uses this word to decide whether to speak the answer aloud. It must never change."""

MAX_ARGUMENT_BYTES = 128 * 1024 - 1024
"""Bytes of the request. Linux takes 128 KiB for an argument with its end mark; the rest is margin."""

MAX_REASON_CHARS = 2048
"""Code points of a relay's own reason that an error shows."""


class MessageTooLong(Exception):
    """The message alone, without any history, exceeds `MAX_ARGUMENT_BYTES`."""


@attrs.frozen
class Order:
    """A request to a relay.

    Attributes:
        capsule: the folder to work in.
        history: what was said before, oldest first, without the message itself.
        earlier: how many messages came before those of `history`.
    """

    capsule: str
    session: str
    message: str
    direction: str
    history: Sequence[PastMessage] = ()
    earlier: int = 0
    attachments: tuple[dict[str, Any], ...] = ()


@attrs.frozen
class Fitted:
    """A request that fits, and how many messages of the conversation it leaves out."""

    request: str
    left_out: int


def fit_request(order: Order, limit_bytes: int = MAX_ARGUMENT_BYTES) -> Fitted:
    """Return the request with the newest part of the history that fits.

    Raises:
        MessageTooLong: the request does not fit even without history.
    """
    fits, too_many = -1, len(order.history) + 1
    while too_many - fits > 1:  # the length grows with each message, so halving finds the most that fit
        count = max(0, (fits + too_many) // 2)
        if len(_request(order, count).encode()) <= limit_bytes:
            fits = count
        elif count == 0:
            raise MessageTooLong
        else:
            too_many = count
    return Fitted(_request(order, fits), order.earlier + len(order.history) - fits)


def _request(order: Order, count: int) -> str:
    history = order.history[len(order.history) - count :]
    context = []
    if history:
        said = [{"role": past.role, "content": past.content} for past in history]
        context.append(_note("Conversation History", said))
    if order.attachments:
        context.append(_note("Attachments", order.attachments))
    to_claude = order.direction == "codex_to_claude"
    body = {
        "version": VERSION,
        "action": "freeform",
        "capsule": order.capsule,
        "session": order.session,
        "payload": {
            "message": order.message,
            "intent": "mobile_claude_query" if to_claude else "mobile_codex_query",
            "direction": order.direction,
            "context": context,
            "metadata": {
                "source": SOURCE,
                "message_count": order.earlier + len(order.history) + 1,
                "attachments": list(order.attachments),
            },
        },
    }
    return orjson.dumps(body).decode()


def _note(title: str, content: object) -> dict[str, str]:
    # `note`: a relay refuses any role except system, user, assistant and note
    return {"title": title, "role": "note", "content": json.dumps(content, indent=2, ensure_ascii=False)}


@attrs.frozen
class RelayReply:
    """The content of a payload line.

    Attributes:
        kind: `text`: the answer. `nothing`: a valid payload without an answer. `refused`: the relay reports that it
            failed, and why. `broken`: not a payload.
        text: the answer, or the reason.
    """

    kind: Literal["text", "nothing", "refused", "broken"]
    text: str = ""


def read_payload(data: bytes) -> RelayReply:
    """Read what came after `PAYLOAD`. Any bytes give a `RelayReply`."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return RelayReply("broken", "is not JSON")
    if not isinstance(body, dict) or not isinstance(body.get("ok"), bool):
        return RelayReply("broken", "has no `ok`")
    if not body["ok"]:
        told = [text for name in ("reason", "details") if (text := _plain(body.get(name)))]
        return RelayReply("refused", ": ".join(told)[:MAX_REASON_CHARS] or "no reason given")
    inner = body.get("data")
    output = inner.get("output") if isinstance(inner, dict) else None
    for answer in (output, body.get("summary")):
        if isinstance(answer, str) and answer:
            return RelayReply("text", answer)
    return RelayReply("nothing")


def _plain(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(value).decode()
