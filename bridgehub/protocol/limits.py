"""What a hub says, cut to what a session keeps of it. Pure.

What a hub reports comes from an agent, through it from a model service, and from what stands in front of that: ids of
thousands of characters were seen. These bounds are for memory. A foreign value over one is shortened, and is never a
reason to end anything. Both ends of the link do this, the hub so that each event fits into a line, the server because a
hub may be an older one. What was shortened once is within its bound and stays as it is.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import attrs

from bridgehub.protocol import events as hub
from bridgehub.protocol.codec import json_bytes
from bridgehub.protocol.tool_events import MAX_OUTPUT_CHARS, MAX_OUTPUTS

__all__ = [
    "MAX_GRANT_CHARS",
    "MAX_ID_CHARS",
    "MAX_PLAN_CHARS",
    "MAX_PLAN_ENTRIES",
    "MAX_TEXT_CHARS",
    "MAX_VALUE_BYTES",
    "MAX_VALUE_DEPTH",
    "clip",
    "is_flat",
    "short_id",
]

MAX_ID_CHARS = 256
"""Code points of an id, a block's or a tool's name: it is kept as long as its turn, and in every list of it."""

MAX_TEXT_CHARS = 512 * 1024
"""Code points of a text that is not a piece of the answer: a tool's output, a task's result. Ours keep to 64 KiB."""

MAX_VALUE_BYTES = 128 * 1024
"""JSON of a tool's input, a request's questions: with each open request it is in the session's snapshot."""

MAX_VALUE_DEPTH = 64
"""Levels of such a value: JSON libraries give up at some hundred, and devices earlier."""

MAX_GRANT_CHARS = 2000
"""Code points of a right for the whole session; one in more words is a right for this call only."""

MAX_DIFF_BYTES = 64 * 1024
"""JSON of what a request would change, or a tool changed; a longer one is left out."""

MAX_LEFT_OUT = 50
"""Files that a checkpoint does not hold and that its event names."""

MAX_PATH_CHARS = 4096
MAX_GAUGE_BYTES = 16 * 1024
"""JSON of a gauge; a longer one is dropped."""

MAX_PLAN_ENTRIES = 100
MAX_PLAN_CHARS = 500

MAX_TITLE_CHARS = 1000
MAX_OPTIONS = 16

MAX_NUMBER = 2**53
"""A larger count becomes this: the largest that every JSON library reads."""

_IDS = (
    "block",
    "tool_id",
    "task_id",
    "parent_tool_id",
    "parent_task_id",
    "name",
    "tool",
    "code",
    "agent_type",
    "of_turn",
    "checkpoint_id",
)

_NUMBERS = ("input_tokens", "output_tokens", "cached_input_tokens", "duration_ms", "attempt")

_DIGEST_CHARS = 32


def short_id(given: str) -> str:
    """Return an id, or of one over `MAX_ID_CHARS` its beginning and a hash: the same id always becomes the same."""
    if len(given) <= MAX_ID_CHARS:
        return given
    digest = sha256(given.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{given[: MAX_ID_CHARS - _DIGEST_CHARS - 1]}~{digest}"


def clip(event: hub.HubEvent) -> hub.HubEvent:
    """Return an event with its ids, texts, numbers and values cut to their bounds; nearly always the event itself.

    Ids that a hub makes (`turn_id`, `request_id`, `message_id`) stay as they are: the hub gets them back.
    """
    if type(event) is hub.TextPiece:
        return event if len(event.block) <= MAX_ID_CHARS else attrs.evolve(event, block=short_id(event.block))
    return _clip_values(_clip_fields(event))


def _clip_fields(event: hub.HubEvent) -> hub.HubEvent:
    changes: dict[str, Any] = {}
    for name in _IDS:
        found = getattr(event, name, None)
        if isinstance(found, str) and len(found) > MAX_ID_CHARS:
            changes[name] = short_id(found)
    for name in _NUMBERS:
        number = getattr(event, name, None)
        if number is not None and (type(number) is not int or abs(number) > MAX_NUMBER):
            changes[name] = max(-MAX_NUMBER, min(MAX_NUMBER, int(number)))
    return attrs.evolve(event, **changes) if changes else event


def _clip_values(event: hub.HubEvent) -> hub.HubEvent:
    match event:
        case hub.ToolBegan():
            return attrs.evolve(event, input=value(event.input), blob=_blob(event.blob))
        case hub.ToolEnded():
            return attrs.evolve(
                event,
                output=text(event.output),
                blob=_blob(event.blob),
                diff=_diff(event.diff),
                pictures=tuple(one for one in event.pictures[:MAX_OPTIONS] if _blob(one) is not None),
            )
        case hub.ToolsPrinted():
            return attrs.evolve(event, outputs=tuple(map(_output, event.outputs[-MAX_OUTPUTS:])))
        case hub.PermissionAsked():
            return _request(event)
        case hub.PlanChanged():
            return attrs.evolve(event, entries=_plan_entries(event.entries))
        case hub.Gauged():
            fits = is_flat(event.gauge, 8) and len(json_bytes(event.gauge)) <= MAX_GAUGE_BYTES
            return event if fits else attrs.evolve(event, gauge={})
        case hub.SettingsTold():
            settings = {name: _setting(one) for name, one in event.settings.items()}
            return attrs.evolve(event, settings=settings, refused=event.refused and text(event.refused))
        case hub.TaskBegan():
            return attrs.evolve(event, title=event.title[:MAX_TITLE_CHARS])
        case hub.TaskProgressed():
            return attrs.evolve(event, progress=text(event.progress))
        case hub.TaskEnded():
            return attrs.evolve(event, result=None if event.result is None else text(event.result))
        case hub.Checkpointed():
            left_out = tuple(attrs.evolve(one, path=one.path[:MAX_PATH_CHARS]) for one in event.left_out)
            return attrs.evolve(event, left_out=left_out[:MAX_LEFT_OUT])
        case hub.TurnFailed() | hub.Noticed():
            return attrs.evolve(event, content=text(event.content))
        case _:
            return event


def _output(one: hub.ToolOutput) -> hub.ToolOutput:
    """Return the newest part of a running tool's output."""
    extra = max(0, len(one.output) - MAX_OUTPUT_CHARS)
    offset = min(MAX_NUMBER, max(0, one.offset) + extra)
    return hub.ToolOutput(short_id(one.tool_id), short_id(one.name), one.output[extra:], offset)


def _request(event: hub.PermissionAsked) -> hub.PermissionAsked:
    shown = value(event.input)
    return attrs.evolve(
        event,
        input=shown,
        options=_names(event.options),
        questions=None if event.questions is None else value(event.questions),
        grant=event.grant if event.grant is None or len(event.grant) <= MAX_GRANT_CHARS else None,
        title=" ".join(event.title[:MAX_TITLE_CHARS].split()),
        modes=_names(event.modes),
        diff=_diff(event.diff),
        editable=_names(event.editable) if shown is event.input else (),
        denying=_names(event.denying),
    )


def _diff(given: Any) -> Any:
    fits = given is not None and is_flat(given) and len(json_bytes(given)) <= MAX_DIFF_BYTES
    return given if fits else None


def _plan_entries(given: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """Return a to-do list's entries: what is none is left out, what is too much is cut."""
    known = [one for one in given if isinstance(one.get("content"), str)]
    return tuple(
        {"content": one["content"][:MAX_PLAN_CHARS], "status": _status(one.get("status"))}
        for one in known[:MAX_PLAN_ENTRIES]
    )


def _status(given: object) -> str:
    return given if isinstance(given, str) and given in ("in_progress", "completed") else "pending"


def _setting(given: str | None) -> str | None:
    return given if given is None else given[:MAX_ID_CHARS]


def _names(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one[:MAX_ID_CHARS] for one in given[:MAX_OPTIONS])


def is_flat(given: Any, levels: int = MAX_VALUE_DEPTH) -> bool:
    """Tell whether a value is nested no deeper than that."""
    if isinstance(given, dict):
        return levels > 0 and all(is_flat(one, levels - 1) for one in given.values())
    if isinstance(given, list | tuple):
        return levels > 0 and all(is_flat(one, levels - 1) for one in given)
    return True


def text(given: str) -> str:
    """Return a text, or its beginning."""
    return given if len(given) <= MAX_TEXT_CHARS else given[:MAX_TEXT_CHARS] + "…"


def value(given: Any) -> Any:
    """Return a foreign value, or what can be shown of one that is too large or nested too deeply."""
    if not is_flat(given):
        return {"clipped": f"nested over {MAX_VALUE_DEPTH} levels"}
    whole = json_bytes(given)
    if len(whole) <= MAX_VALUE_BYTES:
        return given
    return {"clipped": whole[: MAX_VALUE_BYTES // 4].decode(errors="ignore") + "…"}


def _blob(given: dict[str, Any] | None) -> dict[str, Any] | None:
    return given if given is None or (len(given) <= MAX_OPTIONS and is_flat(given, 1)) else None
