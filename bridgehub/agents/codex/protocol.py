"""The lines of `codex app-server` and of other agents: JSON-RPC, with or without its `jsonrpc` member. No I/O.

All reading of the program's JSON is done through `Fields`, which takes nothing for granted: a field that is
missing or of another kind is as good as absent. So a newer program may say more, or less, than was known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import orjson

from bridgehub.agents.codex.errors import BadOutput

_PIECE = "item/agentMessage/delta"

__all__ = [
    "Fields",
    "Lines",
    "Message",
    "Notification",
    "Reply",
    "ServerRequest",
    "decode",
    "encode",
    "is_piece",
    "joined",
]


@attrs.frozen
class Fields:
    """A JSON object of the program."""

    raw: Mapping[str, Any] = attrs.field(factory=dict)

    def text(self, name: str) -> str:
        """Return a string, empty where there is none."""
        return self.maybe_text(name) or ""

    def maybe_text(self, name: str) -> str | None:
        """Return a string, None where there is none."""
        value = self.raw.get(name)
        return value if isinstance(value, str) else None

    def count(self, name: str) -> int | None:
        """Return an integer, None where there is none."""
        value = self.raw.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, name: str) -> bool:
        """Tell whether a field is true."""
        return self.raw.get(name) is True

    def inner(self, name: str) -> Fields:
        """Return an object, an empty one where there is none."""
        value = self.raw.get(name)
        return Fields(value) if isinstance(value, dict) else Fields()

    def each(self, name: str) -> tuple[Any, ...]:
        """Return the members of a list, nothing where there is none."""
        value = self.raw.get(name)
        return tuple(value) if isinstance(value, list) else ()

    def objects(self, name: str) -> tuple[Fields, ...]:
        """Return those members of a list that are objects."""
        return tuple(Fields(value) for value in self.each(name) if isinstance(value, dict))

    def value(self, name: str) -> Any:
        """Return whatever is there, None where nothing is."""
        return self.raw.get(name)


@attrs.frozen
class Notification:
    """The program tells something."""

    method: str
    params: Fields


@attrs.frozen
class ServerRequest:
    """The program asks something and waits for the answer with this id."""

    request_id: int | str
    method: str
    params: Fields


@attrs.frozen
class Reply:
    """The program answers a call of ours; `error` is its text if it refused, `code` the number of that error."""

    request_id: int
    result: Fields
    error: str | None = None
    code: int | None = None


Message = Notification | ServerRequest | Reply


@attrs.define(eq=False)
class Lines:
    """Cuts what comes from a pipe into lines of at most `limit` bytes."""

    limit: int
    _buffer: bytearray = attrs.field(factory=bytearray)
    _searched: int = 0

    def feed(self, chunk: bytes | bytearray) -> Iterator[bytearray]:
        """Give the lines that are whole now, without their ends, empty ones left out. Raises BadOutput."""
        self._buffer += chunk
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = self._buffer[:end]
            del self._buffer[: end + 1]
            self._searched = 0
            if line:
                yield line
        self._searched = len(self._buffer)
        if self._searched > self.limit:
            raise BadOutput(f"a line of over {self.limit} bytes")


def decode(line: bytes | bytearray) -> Message:
    """Read one line. Raises BadOutput."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise BadOutput("a line that is no JSON") from None
    if not isinstance(told, dict):
        raise BadOutput("a line that is no JSON object")
    fields = Fields(told)
    method, request_id = fields.maybe_text("method"), told.get("id")
    if method is not None:
        if request_id is None:
            return Notification(method, fields.inner("params"))
        if isinstance(request_id, int | str):
            return ServerRequest(request_id, method, fields.inner("params"))
    elif isinstance(request_id, int):
        refusal = fields.inner("error")
        error = refusal.text("message") or "no reason given" if "error" in told else None
        return Reply(request_id, fields.inner("result"), error, refusal.count("code"))
    raise BadOutput("a line that is no message of the protocol")


def is_piece(message: Message) -> bool:
    """Tell whether a message is a piece of an answer."""
    return isinstance(message, Notification) and message.method == _PIECE


def joined(messages: Sequence[Message]) -> Iterator[Message]:
    """Give the messages in order, with neighbouring pieces of one answer as one."""
    pieces: list[str] = []
    last: Notification | None = None
    for message in messages:
        if last is not None and not (is_piece(message) and _same_block(last, message)):
            yield _with_delta(last, pieces)
            last, pieces = None, []
        if isinstance(message, Notification) and is_piece(message):
            last = message
            pieces.append(message.params.text("delta"))
        else:
            yield message
    if last is not None:
        yield _with_delta(last, pieces)


def _same_block(one: Notification, other: Message) -> bool:
    return isinstance(other, Notification) and all(
        one.params.value(name) == other.params.value(name) for name in ("threadId", "turnId", "itemId")
    )


def _with_delta(last: Notification, pieces: list[str]) -> Notification:
    if len(pieces) == 1:
        return last
    return Notification(last.method, Fields({**last.params.raw, "delta": "".join(pieces)}))


def encode(message: Mapping[str, Any]) -> bytes:
    """Write one line."""
    return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
