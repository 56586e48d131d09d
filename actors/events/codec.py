"""Events, settings and snapshots as the bytes that storage keeps. The only place where they become JSON.

Stored rows outlive code: reading is lenient (unknown fields are ignored, missing ones take their default), and each
payload carries the version that wrote it. A piece, by far the most common event, is read and written by hand.
"""

from __future__ import annotations

from typing import Any, TypeVar, get_args

import attrs
import cattrs
import orjson
from cattrs.gen import make_dict_unstructure_fn

from actors.events.committed import Committed, Event
from actors.events.conversation import Delivery, Message, Notice, Thinking, UserMessage
from actors.events.session import Settings
from actors.events.work import ToolFinished
from storage.records import Entry, Row

__all__ = [
    "CONVERTER",
    "PAYLOAD_VERSION",
    "decode_event",
    "decode_row",
    "decode_settings",
    "encode_entry",
    "encode_event",
    "encode_settings",
    "origin_of",
]

PAYLOAD_VERSION = 1
_PIECES: dict[str, type[Message | Thinking]] = {Message.kind: Message, Thinking.kind: Thinking}
_CLASSES: dict[str, type[Any]] = {cls.kind: cls for cls in get_args(Event)}
_T = TypeVar("_T")


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(unstruct_collection_overrides={tuple: list})

    @converter.register_unstructure_hook_factory(attrs.has)
    def _leave_out_defaults(cls: type[_T]) -> Any:
        return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)

    return converter


CONVERTER = _make_converter()
"""For whatever `actors` keeps in storage. Never for what a device sends."""


def encode_event(event: Event) -> bytes:
    """Return an event's payload."""
    if isinstance(event, Message | Thinking):
        body = {"v": PAYLOAD_VERSION, "content": event.content, "block": event.block, "offset": event.offset}
        return orjson.dumps(body)
    return orjson.dumps({"v": PAYLOAD_VERSION, **CONVERTER.unstructure(event)})


def decode_event(kind: str, payload: bytes) -> Event:
    """Return the event of a payload; a kind that this version does not know becomes a notice that says so."""
    body = orjson.loads(payload)
    piece = _PIECES.get(kind)
    if piece is not None:
        return piece(body["content"], body["block"], body["offset"])
    cls = _CLASSES.get(kind)
    if cls is None:
        return Notice(code="unknown_kind", content=f"an event of kind {kind!r} that this version cannot show")
    decoded: Event = CONVERTER.structure(body, cls)
    return decoded


def decode_row(row: Row) -> Committed:
    """Return a journal's row as the event that it holds."""
    event = decode_event(row.kind, row.payload)
    return Committed(row.seq, row.first_seq, row.at_ms, row.turn_id, row.device_id, event)


def encode_entry(item: Committed) -> Entry:
    """Return the entry that puts an event into the journal."""
    event = item.event
    command_id: str | None = None
    command_state: str | None = None
    search_text: str | None = None
    if isinstance(event, UserMessage):
        command_id, command_state, search_text = event.message_id, "accepted", event.content
    elif isinstance(event, Delivery):
        command_id, command_state = event.message_id, event.state
    elif isinstance(event, ToolFinished):
        search_text = event.output
    return Entry(
        kind=event.kind,
        payload=encode_event(event),
        at_ms=item.at_ms,
        turn_id=item.turn_id,
        device_id=item.device_id,
        search_text=search_text,
        span=item.seq - item.first_seq + 1,
        command_id=command_id,
        command_state=command_state,
    )


def encode_settings(settings: Settings, *, origin: str | None = None) -> bytes:
    """Return a session's settings as storage keeps them. `origin`: what a fork was made of."""
    body = CONVERTER.unstructure(settings)
    return orjson.dumps(body if origin is None else {**body, "origin": origin})


def origin_of(payload: bytes) -> str | None:
    """Return what a session was made of, if it is a fork or was opened from the desk."""
    origin: str | None = orjson.loads(payload).get("origin")
    return origin


def decode_settings(payload: bytes) -> Settings:
    """Return a session's settings."""
    return CONVERTER.structure(orjson.loads(payload), Settings)
