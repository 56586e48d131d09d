"""Encodes a journal event as the text of its frame (PROTOCOL section 3, "Events").

Pure. A batch of events is encoded and framed once, for all devices at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, get_args

import attrs
import orjson

from actors.events.committed import Committed, Event
from actors.events.conversation import (
    BlockDropped,
    BranchLeft,
    Complete,
    Delivery,
    Interrupted,
    Message,
    Thinking,
    TurnError,
    TurnStarted,
    Usage,
    UserMessage,
)
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import (
    Checkpoint,
    Held,
    SessionGrant,
    SessionUpdated,
    Settings,
    Undone,
    UndoStarted,
)
from actors.events.work import PlanUpdated, TaskFinished, TaskProgress, TaskStarted, ToolFinished, ToolStarted
from actors.tail import EventBatch
from bridgehub.desk.records import Where
from transport.access.signed_urls import blob_url
from transport.websocket.frames import MAX_FRAME_BYTES, text_frame

__all__ = [
    "encode_event",
    "encode_round",
    "event_content",
    "request_fields",
    "shrink",
    "timestamp",
    "told_grants",
    "told_where",
]

CODEC: Final = "v3"
"""The name of this codec's bytes in `EventBatch.encoded`."""

CLIPPED_CODE_POINTS: Final = 8192
"""Code points that are left of an oversized field: at six bytes each, ten such fields stay below a frame's bound."""

_STRUCTURE: Final = frozenset(
    {"type", "timestamp", "session_id", "epoch", "seq", "first_seq", "turn_id", "device_id"}
)
_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    cls.kind: tuple(
        field.name
        for field in attrs.fields(cls)
        if field.name not in {"content", "progress", "agent_position"}
    )
    for cls in get_args(Event)
}
_ONLY_WHERE_THERE: Final = frozenset(
    {
        "of_undo",
        "files",
        "added",
        "removed",
        "blob",
        "cause",
        "diff",
        "pictures",
        "grant",
        "questions",
        "task_id",
        "attempt",
        "retry_in_s",
        "title",
        "failed",
        "settings",
        "applies",
        "grants",
        "held",
        "where",
    }
)


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(at_ms: int) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds and `Z`."""
    second, ms = divmod(at_ms, 1000)
    return f"{_second(second)}.{ms:03d}Z"


def encode_event(session_id: str, epoch: int, item: Committed) -> bytes:
    """Return the JSON text of an event's frame, at most `MAX_FRAME_BYTES`."""
    event = item.event
    body: dict[str, Any] = {
        "type": event.kind,
        "content": event_content(event),
        "timestamp": timestamp(item.at_ms),
        "session_id": session_id,
        "epoch": epoch,
        "seq": item.seq,
        "first_seq": item.first_seq,
        "turn_id": item.turn_id,
        "device_id": item.device_id,
    }
    if isinstance(event, Message | Thinking):
        body["block"] = event.block
        body["offset"] = event.offset
    else:
        _add_fields(body, event)
        if isinstance(event, ToolStarted | ToolFinished) and isinstance(event.blob, dict):
            body["blob"] = _with_url(session_id, event.blob)
        if isinstance(event, ToolFinished) and isinstance(event.pictures, list):
            shown = [one for one in event.pictures if isinstance(one, dict)]
            body["pictures"] = [_with_url(session_id, one) for one in shown]
    text = orjson.dumps(body)
    return text if len(text) <= MAX_FRAME_BYTES else orjson.dumps(shrink(body, CLIPPED_CODE_POINTS))


def _with_url(session_id: str, blob: dict[str, Any]) -> dict[str, Any]:
    return {**blob, "url": blob_url(session_id, str(blob.get("sha256")))}


def encode_round(round_: EventBatch) -> bytes:
    """Return a batch's frames, complete and in order; encoded once, however many devices take the batch."""
    known = round_.encoded.get(CODEC)
    if known is None:
        session_id, epoch = round_.session_id, round_.epoch
        known = b"".join([text_frame(encode_event(session_id, epoch, item)) for item in round_.items])
        round_.encoded[CODEC] = known
    return known


def shrink(body: dict[str, Any], code_points: int) -> dict[str, Any]:
    """Return `body` with each free field that is longer than `code_points` cut to that length, as text."""
    return {name: value if name in _STRUCTURE else clip(value, code_points) for name, value in body.items()}


def clip(value: Any, code_points: int) -> Any:
    """Return `value`, or the beginning of its text if that is longer than `code_points`."""
    if isinstance(value, str):
        return value[:code_points]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = orjson.dumps(value)
    return value if len(text) <= code_points else text.decode()[:code_points]


def request_fields(event: PermissionRequested) -> dict[str, Any]:
    """Return the fields that a device needs to show a permission request."""
    body: dict[str, Any] = {}
    _add_fields(body, event)
    return body


def _add_fields(body: dict[str, Any], event: Event) -> None:
    for name in _FIELDS[event.kind]:
        value = getattr(event, name)
        if value is None and name in _ONLY_WHERE_THERE:
            continue
        body[name] = value
    if isinstance(event, UserMessage):
        body["attachments"] = [attrs.asdict(each) for each in event.attachments]
        _tell_moment(body, "not_before", event.not_before_ms)
    elif isinstance(event, TurnError):
        _tell_moment(body, "resets_at", event.resets_at_ms)
        if not event.ways:
            del body["ways"]
    elif isinstance(event, Checkpoint):
        body["left_out"] = [attrs.asdict(each) for each in event.left_out]
    elif isinstance(event, Complete):
        body["usage"] = _usage(event.usage)
    elif isinstance(event, TaskStarted | TaskProgress | TaskFinished):
        body.setdefault("result", None)
        if not event.background:
            del body["background"]
    elif isinstance(event, PlanUpdated):
        body["entries"] = [attrs.asdict(entry) for entry in event.entries]
    elif isinstance(event, SessionUpdated):
        if event.settings is not None:
            body["settings"] = attrs.asdict(event.settings)
        if event.held is not None:
            body["held"] = told_held(event.held)
        if event.where is not None:
            body["where"] = {**(told_where(event.where.where) or {}), "ending_by": event.where.ending_by}
        if event.grants is not None:
            body["grants"] = told_grants(event.grants)
    elif isinstance(event, PermissionRequested):
        body["kind"] = body.pop("about")
        body["title"] = event_content(event)
        del body["denying"]
    elif isinstance(event, PermissionResolved):
        for name in ("input", "mode", "option"):
            if body[name] is None:
                del body[name]


def _tell_moment(body: dict[str, Any], name: str, at_ms: int | None) -> None:
    del body[f"{name}_ms"]
    if at_ms is not None:
        body[name] = timestamp(at_ms)


def told_held(held: Held) -> dict[str, Any] | None:
    """Return the reason why the queue waits, as devices see it; None if it does not wait any more."""
    until = None if held.until_ms is None else timestamp(held.until_ms)
    return {"code": held.code, "until": until} if held.code else None


def told_where(where: Where | None) -> dict[str, Any] | None:
    """Return which program has a session open, as devices see it."""
    if where is None:
        return None
    since = timestamp(where.since_ms) if where.since_ms else None
    return {"program": where.program, "pid": where.pid, "status": where.status, "since": since}


def told_grants(grants: Sequence[SessionGrant]) -> list[dict[str, Any]]:
    """Return the grants of the session, as devices see them."""
    return [
        {
            "grant": grant.grant,
            "by_device": grant.by_device,
            "at": None if grant.at_ms is None else timestamp(grant.at_ms),
        }
        for grant in grants
    ]


def _usage(usage: Usage | None) -> dict[str, Any]:
    counts = {} if usage is None else attrs.asdict(usage)
    return {name: value for name, value in counts.items() if value is not None}


def event_content(event: Event) -> str:
    """Return an event's own text, or a line that describes it to a person."""
    own = getattr(event, "content", None)
    if isinstance(own, str):
        return own
    return _LINES[type(event)](event)


def _session_updated(event: SessionUpdated) -> str:
    if event.failed is not None:
        return "The session failed." if event.failed else "The session works again."
    if event.title is not None:
        return f"The session is now called {event.title!r}."
    if event.settings is not None:
        return f"The session uses {_settings_line(event.settings)} {_WHEN[event.applies]}."
    if event.held is not None:
        return f"The queue waits: {event.held.code}." if event.held.code else "The queue continues."
    if event.where is not None:
        return f"{event.where.ending_by} ends {event.where.where.program} in the terminal."
    if event.grants is not None:
        return f"{len(event.grants)} grants hold for the session."
    return "The session changed."


_WHEN: Final = {"now": "now", "next_turn": "from the next turn on", None: "now"}


def _settings_line(settings: Settings) -> str:
    values = {"model": settings.model, "mode": settings.permission_mode, "effort": settings.effort}
    return ", ".join(f"{name} {value or 'by default'}" for name, value in values.items())


def _checkpoint(event: Checkpoint) -> str:
    if event.position == "before":
        return "The workspace is saved as it was before the turn."
    return f"{_counted(event.files or 0)} changed, +{event.added or 0} −{event.removed or 0}."


def _undone(event: Undone) -> str:
    left = f", {_counted(len(event.conflicts))} left alone" if event.conflicts else ""
    return f"Changes taken back: {_counted(len(event.files))}{left}."


def _counted(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _resolved(event: PermissionResolved) -> str:
    word = {"deny": "Denied", "cancelled": "Cancelled"}.get(event.decision, "Allowed")
    return f"{word} by {event.by_device}." if event.by_device else f"{word}."


_LINES: Final[dict[type[Any], Callable[[Any], str]]] = {
    Delivery: lambda event: f"The message is {event.state}.",
    TurnStarted: lambda _: "The turn started.",
    BlockDropped: lambda _: "The answer broke off and begins again.",
    ToolStarted: lambda event: f"{event.name} started.",
    ToolFinished: lambda event: f"{event.name} {'failed' if event.is_error else 'finished'}.",
    PermissionRequested: lambda event: event.title or f"{event.tool} asks for permission.",
    PermissionResolved: _resolved,
    TaskStarted: lambda event: f"Task started: {event.title}",
    TaskProgress: lambda event: event.progress,
    TaskFinished: lambda event: f"Task {event.state}: {event.title}",
    Complete: lambda _: "The turn is complete.",
    PlanUpdated: lambda event: (
        f"{sum(one.status == 'completed' for one in event.entries)} of {len(event.entries)} done."
    ),
    Interrupted: lambda event: f"Interrupted by {event.by_device}." if event.by_device else "Interrupted.",
    SessionUpdated: _session_updated,
    Checkpoint: _checkpoint,
    UndoStarted: lambda event: f"{event.by_device} takes changes back.",
    Undone: _undone,
    BranchLeft: lambda event: f"At the desk {len(event.turn_ids)} turns were left behind.",
}
