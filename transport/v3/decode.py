"""Decodes a device's text into a frame class (PROTOCOL section 3).

The invariant: any text gives a frame or `WireError`, nothing else. Unknown fields are ignored; nothing is
coerced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, get_args

import attrs
import cattrs
import orjson
from cattrs.gen import make_dict_structure_fn

from storage.records import NODE_NAME, is_node_name
from transport.v3.client_frames import (
    Answers,
    AttachmentRef,
    ClientFrame,
    DecideFrame,
    EditedInput,
    EventSeq,
    HistoryCount,
    Id,
    IdleSeconds,
    MessageId,
    Moment,
    NodeName,
    PaceMs,
    PaintMs,
    PathText,
    SettingsAsked,
    SettingsChange,
    ShortText,
    WorktreeAsked,
)

__all__ = [
    "FRAME_TYPES",
    "SUBPROTOCOL",
    "WireError",
    "decode",
    "decode_settings_asked",
    "is_id",
]

SUBPROTOCOL: Final = "builderos.v3"

MAX_ATTACHMENTS: Final = 32
"""Files of one message: more than a person picks by hand, few enough for one event."""

MAX_ANSWERS_DEPTH: Final = 32
"""Nesting of lists and objects in `answers`: stored values must be encoded again, and the encoder nests less deep than
the decoder. An agent's questions need three."""

MAX_INPUT_BYTES: Final = 64 * 1024
"""Bytes of JSON of the fields that a decision changes (PROTOCOL section 14)."""

SETTING_NAMES: Final = ("model", "permission_mode", "effort")

_MAX_MOMENT: Final = 64  # characters
_MAX_SHORT: Final = 4096
_MAX_MESSAGE_ID: Final = 128  # code points
_MAX_INT: Final = 2**63 - 1  # what the database can hold
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


class WireError(Exception):
    """A device's frame is wrong.

    Attributes:
        code: always `bad_frame`; the `code` of the answer.
        what: the fault, one line without the value itself.
        path: the place of the fault, from `$`.
        session_id: the frame's session, if it names a valid one.
    """

    code: Final = "bad_frame"

    def __init__(self, what: str, path: str = "$", session_id: str | None = None) -> None:
        super().__init__(f"{what} at {path}")
        self.what = what
        self.path = path
        self.session_id = session_id


MAX_IDLE_S: Final = 86_400.0
"""A longer time without anybody means the same."""


MAX_PAINT_MS: Final = 3_600_000
"""A device that shows an event an hour after it is late for another reason than its connection."""


class _Wrong(ValueError):
    """A value does not fit its field; the text says what the field expects."""


def _exactly(kind: type, expected: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise _Wrong(f"expected {expected}")
        return value

    return hook


def _int(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise _Wrong(f"expected an integer from {low} to {high}")
    return value


def _float(value: Any, _: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise _Wrong("expected a number")
    return float(value)


def _idle(value: Any, _: Any) -> IdleSeconds:
    found = _float(value, None)
    if found < 0:
        raise _Wrong("expected 0 or more")
    return IdleSeconds(min(found, MAX_IDLE_S))


def _id(value: Any, _: Any) -> Id:
    if type(value) is not str or not _ID.fullmatch(value):
        raise _Wrong("expected an id: 1 to 128 of A-Z a-z 0-9 . _ -")
    return Id(value)


def _message_id(value: Any, _: Any) -> MessageId:
    if type(value) is not str or not 1 <= len(value) <= _MAX_MESSAGE_ID:
        raise _Wrong(f"expected a text of 1 to {_MAX_MESSAGE_ID} characters")
    return MessageId(value)


def _short(value: Any, _: Any) -> ShortText:
    if type(value) is not str or not 1 <= len(value) <= _MAX_SHORT:
        raise _Wrong(f"expected a text of 1 to {_MAX_SHORT} characters")
    return ShortText(value)


def _path(value: Any, _: Any) -> PathText:
    text = _short(value, _)
    if "\0" in text:
        raise _Wrong("expected a path, without a null character")
    return PathText(text)


def _worktree(value: Any, _: Any) -> WorktreeAsked:
    if type(value) is not bool and value != "":  # an empty name is a wrong name, as others are
        _short(value, _)
    return WorktreeAsked(value)


def _node(value: Any, _: Any) -> NodeName:
    if type(value) is not str or not is_node_name(value):
        raise _Wrong(f"expected a machine's name: {NODE_NAME}")
    return NodeName(value)


def _answers(value: Any, _: Any) -> Answers:
    level = [value]
    for _depth in range(MAX_ANSWERS_DEPTH + 1):
        nested = [item for item in level if isinstance(item, dict | list)]
        if not nested:
            return Answers(value)
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
    raise _Wrong(f"expected at most {MAX_ANSWERS_DEPTH} nested lists and objects")


def _edited_input(value: Any, _: Any) -> EditedInput:
    if type(value) is not dict:
        raise _Wrong("expected an object")
    _answers(value, _)
    if len(orjson.dumps(value)) > MAX_INPUT_BYTES:
        raise _Wrong(f"expected at most {MAX_INPUT_BYTES} bytes of JSON")
    return EditedInput(value)


def _settings_change(value: Any, _: Any) -> SettingsChange:
    if type(value) is not dict:
        raise _Wrong("expected an object")
    named = {name: value[name] for name in SETTING_NAMES if name in value}
    return SettingsChange({name: None if one is None else _short(one, _) for name, one in named.items()})


def _moment(value: Any, _: Any) -> Moment:
    expected = "expected a moment as 2026-12-01T09:00:00.000Z"
    if type(value) is not str or len(value) > _MAX_MOMENT:
        raise _Wrong(expected)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise _Wrong(expected + ", with its offset")
        return Moment(int(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise _Wrong(expected) from None


def make_converter() -> cattrs.Converter:
    """Return the converter of this format: strict about types; it ignores unknown fields."""
    converter = cattrs.Converter()
    converter.register_structure_hook(str, _exactly(str, "a string"))
    converter.register_structure_hook(bool, _exactly(bool, "true or false"))
    converter.register_structure_hook(int, lambda value, _: _int(value, -_MAX_INT - 1, _MAX_INT))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(Id, _id)
    converter.register_structure_hook(MessageId, _message_id)
    converter.register_structure_hook(Answers, _answers)
    converter.register_structure_hook(Moment, _moment)
    converter.register_structure_hook(SettingsChange, _settings_change)
    converter.register_structure_hook(EditedInput, _edited_input)
    converter.register_structure_hook(ShortText, _short)
    converter.register_structure_hook(PathText, _path)
    converter.register_structure_hook(WorktreeAsked, _worktree)
    converter.register_structure_hook(NodeName, _node)
    converter.register_structure_hook(HistoryCount, lambda value, _: _int(value, 0, 1000))
    converter.register_structure_hook(IdleSeconds, _idle)
    converter.register_structure_hook(EventSeq, lambda value, _: _int(value, 1, _MAX_INT))
    converter.register_structure_hook(PaintMs, lambda value, _: _int(value, 0, MAX_PAINT_MS))
    converter.register_structure_hook(PaceMs, lambda value, _: _int(value, 0, 10_000))

    @converter.register_structure_hook_factory(attrs.has)
    def _objects_only(cls: type[Any]) -> Callable[[Any, Any], Any]:
        structure = make_dict_structure_fn(cls, converter)

        def hook(value: Any, _: Any) -> Any:
            if type(value) is not dict:
                raise _Wrong("expected an object")
            return structure(value, cls)

        return hook

    def _refs(value: Any, _: Any) -> tuple[AttachmentRef, ...]:
        if type(value) is not list or len(value) > MAX_ATTACHMENTS:
            raise _Wrong(f"expected a list of at most {MAX_ATTACHMENTS}")
        return tuple(converter.structure(item, AttachmentRef) for item in value)

    converter.register_structure_hook_func(lambda kind: kind == tuple[AttachmentRef, ...], _refs)
    return converter


FRAME_TYPES: Final[dict[str, type[Any]]] = {cls.name: cls for cls in get_args(ClientFrame)}
"""Every `type` that a device may send."""

_CONVERTER: Final = make_converter()


def is_id(text: str) -> bool:
    """Return whether a text may be the id of a session, a device or a message."""
    return _ID.fullmatch(text) is not None


def decode_settings_asked(body: Any) -> SettingsAsked:
    """Return the settings that an `attach` asks for. Raises WireError."""
    try:
        asked: SettingsAsked = _CONVERTER.structure(body, SettingsAsked)
    except Exception as error:
        raise WireError(*_locate(error, "$.settings")) from None
    return asked


def decode(text: str | bytes) -> ClientFrame:
    """Return the frame that a device sent.

    Raises:
        WireError: it is not a valid frame; says what is wrong and where.
    """
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise WireError("not JSON, or not valid Unicode") from None
    if type(body) is not dict:
        raise WireError("expected an object")
    session_id = body.get("session_id")
    known = session_id if type(session_id) is str and is_id(session_id) else None
    tag = body.get("type")
    cls = FRAME_TYPES.get(tag) if type(tag) is str else None
    if cls is None:
        raise WireError("missing or unknown type", "$.type", known)
    try:
        frame: ClientFrame = _CONVERTER.structure(body, cls)
    except Exception as error:
        what, path = _locate(error, "$")
        raise WireError(what, path, known) from None
    if isinstance(frame, DecideFrame) and frame.decision is None and frame.option is None:
        raise WireError("missing", "$.decision", known)
    return frame


def _locate(error: BaseException, path: str) -> tuple[str, str]:
    """Return the first fault and its place."""
    if isinstance(error, cattrs.ClassValidationError):
        notes, bare = error.group_exceptions()
        if notes:
            cause, note = notes[0]
            return _locate(cause, f"{path}.{note.name}")
        return _locate(bare[0], path)
    if isinstance(error, KeyError):
        return "missing", path
    if isinstance(error, _Wrong):
        return str(error), path
    return "not one of the allowed values", path
