"""The lines of `codex app-server` and of other agents: JSON-RPC, with or without its `jsonrpc` member. No I/O.

All JSON of the program is read through `Fields`, which assumes nothing: a field that is missing or has another type
counts as absent. So a newer program may send more fields, or fewer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import orjson

from bridgehub.agents.errors import BadOutput

_PIECE = "item/agentMessage/delta"

__all__ = [
    "HELD",
    "Fields",
    "LineCutter",
    "Message",
    "Notification",
    "Reply",
    "ServerRequest",
    "Speech",
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
        """Return a string, empty if there is none."""
        return self.maybe_text(name) or ""

    def maybe_text(self, name: str) -> str | None:
        """Return a string, None if there is none."""
        value = self.raw.get(name)
        return value if isinstance(value, str) else None

    def count(self, name: str) -> int | None:
        """Return an integer, None if there is none."""
        value = self.raw.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, name: str) -> bool:
        """Return whether a field is true."""
        return self.raw.get(name) is True

    def inner(self, name: str) -> Fields:
        """Return an object, empty if there is none."""
        value = self.raw.get(name)
        return Fields(value) if isinstance(value, dict) else Fields()

    def each(self, name: str) -> tuple[Any, ...]:
        """Return the members of a list, empty if there is none."""
        value = self.raw.get(name)
        return tuple(value) if isinstance(value, list) else ()

    def objects(self, name: str) -> tuple[Fields, ...]:
        """Return those members of a list that are objects."""
        return tuple(Fields(value) for value in self.each(name) if isinstance(value, dict))

    def value(self, name: str) -> Any:
        """Return the value of a field of any type, None if there is none."""
        return self.raw.get(name)


@attrs.frozen
class Notification:
    """A message of the program that needs no answer."""

    method: str
    params: Fields


@attrs.frozen
class ServerRequest:
    """A question of the program, which waits for the answer with this id."""

    request_id: int | str
    method: str
    params: Fields


@attrs.frozen
class Reply:
    """The program's answer to one of our calls. If it refused, `error` is its text and `code` the error's number."""

    request_id: int
    result: Fields
    error: str | None = None
    code: int | None = None


Message = Notification | ServerRequest | Reply


@attrs.define(eq=False)
class LineCutter:
    """Cuts what comes from a pipe into lines of at most `limit` bytes."""

    limit: int
    _buffer: bytearray = attrs.field(factory=bytearray)
    _searched: int = 0

    def feed(self, chunk: bytes | bytearray) -> Iterator[bytearray]:
        """Yield the lines that are now complete, without their ends. Skips empty ones. Raises BadOutput."""
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
    """Parse one line. Raises BadOutput."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        told = _half_characters(line)
    if not isinstance(told, dict):
        raise BadOutput("a line that is not a JSON object")
    fields = Fields(told)
    method, request_id = fields.maybe_text("method"), told.get("id")
    if method is not None:
        if request_id is None:
            return Notification(method, fields.inner("params"))
        if isinstance(request_id, int | str):
            return ServerRequest(request_id, method, fields.inner("params"))
    elif isinstance(request_id, int):
        refusal = fields.inner("error")
        error = _words_of(refusal) if "error" in told else None
        return Reply(request_id, fields.inner("result"), error, refusal.count("code"))
    raise BadOutput("a line that is not a message of the protocol")


_ESCAPE = re.compile(rb"\\(?:u([dD][89abAB]..)\\u([dD][c-fC-F]..)|u([dD][89a-fA-F]..)|.)", re.DOTALL)
"""An escape of a string: a pair of surrogates, one without its other half, or anything else."""


def _half_characters(line: bytes | bytearray) -> Any:
    """Parse a line whose only fault is a surrogate without its other half, which becomes U+FFFD. Raises BadOutput.

    Agents in JavaScript write one if they cut a text inside a character.
    """
    if b"\\ud" not in line and b"\\uD" not in line:
        raise BadOutput("a line that is not JSON")
    try:
        return orjson.loads(_ESCAPE.sub(lambda found: b"\\ufffd" if found[3] else found[0], line))
    except orjson.JSONDecodeError:
        raise BadOutput("a line that is not JSON") from None


def is_piece(message: Message) -> bool:
    """Return whether a message is a piece of an answer."""
    return isinstance(message, Notification) and message.method == _PIECE


def joined(messages: Sequence[Message]) -> Iterator[Message]:
    """Yield the messages in order, with neighbouring pieces of one answer joined."""
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
    """Return a message as one line, without its end."""
    return orjson.dumps(message)


HELD: Mapping[str, Any] = {}
"""What `Speech.idle` returns for a question that stays open, because the turn that begins answers it."""


@attrs.frozen
class Speech:
    """How a kind of program speaks.

    Attributes:
        name: the program's name for a person.
        version: the value of `jsonrpc` in each message. Empty: it is left out.
        is_piece: whether a message is a piece of an answer.
        idle: takes messages while there is no listener. Its result, if any, answers a question.
    """

    name: str = "Codex"
    version: str = ""
    is_piece: Callable[[Message], bool] = is_piece
    idle: Callable[[Notification | ServerRequest], Mapping[str, Any] | None] = lambda message: None


def _words_of(refusal: Fields) -> str:
    """Return a refusal's text. Some agents say only `Internal error` there, and the cause in its details."""
    words = (refusal.text("message") or "no reason given", refusal.inner("data").text("details"))
    return ": ".join(word for word in words if word)
