"""The link's lines, out of a stream and back: JSON objects tagged by `type`, the snake-case name of their class.

Decoding is strict about the types of known fields and silent about unknown fields. A piece of text, by far
the most frequent line, has a way of its own in both directions that does the same work several times faster.
Knows no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, cast, get_args

import attrs
import orjson
from cattrs import Converter
from cattrs.errors import AttributeValidationNote, BaseValidationError, IterableValidationNote
from cattrs.strategies import configure_tagged_union

from bridgehub.protocol.errors import LinkError
from bridgehub.protocol.events import HubEvent, Noticed, TextPiece
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import FromHub, Reported, ToHub

__all__ = [
    "MAX_LINE_BYTES",
    "LineBuffer",
    "converter",
    "decode_from_hub",
    "decode_spec",
    "decode_to_hub",
    "encode",
    "encode_reported",
    "json_bytes",
    "json_size",
]


MAX_LINE_BYTES = 8 * 1024 * 1024
"""Bytes of one line of the link: a prompt (256 KiB) or a tool's input fits many times over."""


@attrs.define(eq=False)
class LineBuffer:
    """Collects bytes and gives complete lines. The search for a line's end continues where it stopped."""

    limit: int = MAX_LINE_BYTES
    _data: bytearray = attrs.field(factory=bytearray)
    _searched: int = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Add `data`; return all lines that are complete now, without their newlines, none of them empty.

        Raises:
            LinkError: `too_long`, a line is over the limit. The buffer is of no use after that.
        """
        held = self._data
        held += data
        end = held.rfind(b"\n", self._searched)
        if end < 0:
            self._searched = len(held)
            if self._searched > self.limit:
                raise LinkError("too_long")
            return []
        block = bytes(held[:end])
        del held[: end + 1]
        self._searched = len(held)
        lines = [line for line in block.split(b"\n") if line]
        if self._searched > self.limit or (
            len(block) > self.limit and any(len(line) > self.limit for line in lines)
        ):
            raise LinkError("too_long")
        return lines

    @property
    def pending(self) -> int:
        """Bytes of the line that has begun."""
        return len(self._data)


def _tag(cls: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


def _strict(*kinds: type) -> Callable[[Any, type], Any]:
    def structure(value: Any, _: type) -> Any:
        if type(value) not in kinds:
            raise TypeError("wrong type")
        return value

    return structure


def _structure_float(value: Any, _: type) -> float:
    if type(value) is not float and type(value) is not int:
        raise TypeError("wrong type")
    return float(value)


@cache
def converter() -> Converter:
    """Return the converter of this link: strict scalars, unions tagged by `type`.

    The first call makes it, in about 30 ms. A server does that on a thread, while the process of its first hub starts.
    """
    made = Converter(detailed_validation=True)
    made.register_structure_hook(str, _strict(str))
    made.register_structure_hook(int, _strict(int))
    made.register_structure_hook(bool, _strict(bool))
    made.register_structure_hook(float, _structure_float)
    for union in (HubEvent, ToHub, FromHub):
        configure_tagged_union(union, made, tag_name="type", tag_generator=_tag)
    return made


_FROM_HUB = frozenset(map(_tag, get_args(FromHub)))
_TO_HUB = frozenset(map(_tag, get_args(ToHub)))
_EVENTS = frozenset(map(_tag, get_args(HubEvent)))
_CHANNELS = ("text", "thinking")
_SURROGATES = re.compile("[\ud800-\udfff]")


def encode(message: ToHub | FromHub | HubSpec) -> bytes:
    """Return a message as one line, newline included. What JSON cannot hold is replaced, never refused."""
    if isinstance(message, Reported):
        return encode_reported(message.first_seq, message.seq, message.event)
    if isinstance(message, HubSpec):
        return _dumps(converter().unstructure(message))
    union: Any = FromHub if _tag(type(message)) in _FROM_HUB else ToHub
    return _dumps(converter().unstructure(message, unstructure_as=union))


def encode_reported(first_seq: int, seq: int, event: HubEvent) -> bytes:
    """Return `Reported(seq, first_seq, event)` as one line."""
    if type(event) is TextPiece:
        body: Any = {
            "type": "text_piece",
            "turn_id": event.turn_id,
            "channel": event.channel,
            "block": event.block,
            "text": event.text,
        }
    else:
        union: Any = HubEvent
        body = converter().unstructure(event, unstructure_as=union)
    return _dumps({"type": "reported", "seq": seq, "first_seq": first_seq, "event": body})


def json_bytes(value: Any) -> bytes:
    """Return any value as the JSON that a line carries of it."""
    return _dumps(value)[:-1]


def json_size(text: str) -> int:
    """Return how many bytes `text` takes as JSON, quotes left out."""
    return len(_dumps(text)) - 3


def decode_from_hub(line: bytes) -> FromHub:
    """Return the message of a line that a hub wrote.

    An event of a type that this end does not know becomes a `Noticed`, so that it is journalled and
    acknowledged.

    Raises:
        LinkError: the line is not a message of the link.
    """
    raw = _loads(line)
    if raw.get("type") == "reported":
        return _decode_reported(raw)
    return cast("FromHub", _structure(raw, FromHub, _FROM_HUB))


def decode_to_hub(line: bytes) -> ToHub:
    """Return the message of a line that a server wrote. Raises LinkError."""
    return cast("ToHub", _structure(_loads(line), ToHub, _TO_HUB))


def decode_spec(line: bytes) -> HubSpec:
    """Return the spec of a line that `encode` made. Raises LinkError."""
    return cast("HubSpec", _structure(_loads(line), HubSpec, None))


def _decode_reported(raw: dict[str, Any]) -> Reported:
    event = raw.get("event")
    seq, first_seq = raw.get("seq"), raw.get("first_seq")
    if type(seq) is not int or type(first_seq) is not int or not 1 <= first_seq <= seq:
        raise LinkError("bad_field", ".seq")
    if type(event) is not dict:
        raise LinkError("bad_field", ".event")
    if event.get("type") == "text_piece":
        return Reported(seq, first_seq, _decode_piece(event))
    kind = event.get("type")
    if type(kind) is not str:
        raise LinkError("bad_field", ".event.type")
    if kind not in _EVENTS:
        turn_id = event.get("turn_id")
        known_turn = turn_id if type(turn_id) is str else None
        return Reported(seq, first_seq, Noticed(known_turn, "unknown_event", kind[:100]))
    return Reported(seq, first_seq, cast("HubEvent", _structure(event, HubEvent, _EVENTS, ".event")))


def _decode_piece(event: dict[str, Any]) -> TextPiece:
    turn_id, channel = event.get("turn_id"), event.get("channel")
    block, text = event.get("block"), event.get("text")
    if type(turn_id) is str and type(block) is str and type(text) is str and channel in _CHANNELS:
        return TextPiece(turn_id, cast("Literal['text', 'thinking']", channel), block, text)
    raise LinkError("bad_field", ".event")


def _structure(raw: dict[str, Any], union: Any, tags: frozenset[str] | None, path: str = "") -> Any:
    if tags is not None:
        tag = raw.get("type")
        if type(tag) is not str or tag not in tags:
            raise LinkError("unknown_type", path + ".type")
    try:
        return converter().structure(raw, union)
    except Exception as exc:  # cattrs lets raw errors of many classes out; all mean the same here
        raise LinkError("bad_field", path + _path_of(exc)) from None


def _path_of(exc: BaseException) -> str:
    """Return where the first complaint of a validation error lies."""
    while isinstance(exc, BaseValidationError):
        exc = exc.exceptions[0]
        for note in getattr(exc, "__notes__", ()):
            if isinstance(note, AttributeValidationNote):
                return f".{note.name}{_path_of(exc)}"
            if isinstance(note, IterableValidationNote):
                return f"[{note.index}]{_path_of(exc)}"
    return ""


def _loads(line: bytes) -> dict[str, Any]:
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise LinkError("not_json") from None
    if type(raw) is not dict:
        raise LinkError("not_json")
    return raw


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate, an integer over 64 bits, a key or value of a foreign type
        return orjson.dumps(_fix(value, 0), option=orjson.OPT_APPEND_NEWLINE)


_MAX_DEPTH = 200
"""Levels of a foreign value that survive: orjson itself refuses 255."""


def _fix(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {_fix_text(str(key)): _fix(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fix(item, depth + 1) for item in value]
    return _fix_text(value if isinstance(value, str) else str(value))


def _fix_text(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)
