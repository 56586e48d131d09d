"""Encodes the frames without `seq`: direct answers to a device (PROTOCOL section 3). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import orjson

from actors.events.permissions import PermissionRequested
from actors.events.session import Held
from actors.offer import Offer
from actors.replies import Accepted, Rejected, SessionView
from actors.tail import (
    AttachedDevice,
    DraftChanged,
    GaugeMoved,
    OfferChanged,
    Presence,
    ReadMarkMoved,
    SessionProblem,
    ToolOutputs,
    TransientUpdate,
)
from bridgehub.desk.records import Where
from storage.records import SessionRecord
from transport.config import TransportConfig
from transport.ports import Device
from transport.v3.decode import WireError
from transport.v3.events import request_fields, shrink, timestamp, told_grants, told_held, told_where
from transport.websocket.frames import MAX_FRAME_BYTES

__all__ = [
    "SHOWN_DEVICES",
    "Attached",
    "accepted",
    "agent",
    "alert",
    "attached",
    "bad_frame",
    "detached",
    "error",
    "gauge",
    "heartbeats",
    "left_turns",
    "news",
    "pong",
    "ready",
    "rejected",
    "session_changed",
    "session_entry",
    "tool_output",
]

HEARTBEAT_SESSIONS: Final = 1000
"""Sessions that one heartbeat names; a device that follows more gets several heartbeats."""

MAX_CONFLICTS: Final = 500
"""Files that a refused undo names."""

SHOWN_DEVICES: Final = 250
"""Devices that are listed to others; `device_count` is the full number."""


@attrs.frozen
class _Fit:
    """The most of each long field that is sent, in code points; `devices` in devices."""

    preview: int
    field: int
    devices: int = SHOWN_DEVICES
    grant: int = 2000
    draft: int = 1 << 20


_FITTING: Final = (
    _Fit(1000, 65_536),
    _Fit(250, 8192, grant=500),
    _Fit(60, 512, devices=100, grant=100),
    _Fit(10, 32, devices=20, grant=30, draft=4096),
)
"""Tried one after the other until `attached` fits into a frame; the last one always does."""


def _frame(kind: str, content: str, now_ms: int, fields: Mapping[str, Any]) -> bytes:
    body = {"type": kind, "content": content, "timestamp": timestamp(now_ms), **fields}
    return orjson.dumps(body)


def ready(config: TransportConfig, device: Device, now_ms: int) -> bytes:
    """Return the answer to a successful sign-in."""
    fields = {
        "protocol": 3,
        "server_version": config.version,
        "device": {"id": device.id, "name": device.name, "scope": device.scope},
        "heartbeat_s": config.heartbeat_s,
        "agents": list(config.agents),
    }
    return _frame("ready", f"Signed in as {device.name}.", now_ms, fields)


@attrs.frozen
class Attached:
    """The content of `attached`: the session's state and the device's starting point."""

    session_id: str
    view: SessionView
    from_seq: int
    replay: str
    devices: tuple[AttachedDevice, ...]
    worktree: dict[str, object] | None = None
    machine: Mapping[str, str] | None = None


def attached(it: Attached, now_ms: int) -> bytes:
    """Return the answer to an `attach`. Long previews and inputs are cut if the frame would be too large."""
    text = b""
    for fit in _FITTING:
        text = _frame("attached", f"Attached to {it.session_id}.", now_ms, _attached_fields(it, fit))
        if len(text) <= MAX_FRAME_BYTES:
            break
    return text


def _attached_fields(it: Attached, fit: _Fit) -> dict[str, Any]:
    view = it.view
    return {
        "session_id": it.session_id,
        "epoch": view.epoch,
        "head_seq": view.head_seq,
        "from_seq": it.from_seq,
        "replay": it.replay,
        "agent_type": view.agent_type,
        "title": view.title,
        "state": view.state,
        "settings": attrs.asdict(view.settings),
        "queue": [
            {
                "message_id": one.message_id,
                "content": one.preview[: fit.preview],
                "device_id": one.device_id,
                **({} if one.not_before_ms is None else {"not_before": timestamp(one.not_before_ms)}),
                **({"held": True} if one.held else {}),
            }
            for one in view.queue
        ],
        "pending": [_pending(one, fit.field) for one in view.pending],
        **_devices(it.devices, fit.devices),
        "read_seq": view.read_seq,
        "draft": view.draft[: fit.draft],
        "worktree": it.worktree,
        "machine": it.machine,
        "held": None if view.held is None else told_held(view.held),
        "where": told_where(view.where),
        "plan": [attrs.asdict(one) for one in view.plan],
        "background": [attrs.asdict(one) for one in view.background],
        "grants": [{**one, "grant": one["grant"][: fit.grant]} for one in told_grants(view.grants)],
    }


def _pending(request: PermissionRequested, code_points: int) -> dict[str, Any]:
    """Return a request. `cut` means that it is incomplete, so that nobody allows what is not shown."""
    whole = request_fields(request)
    short = shrink(whole, code_points)
    return short if short == whole else {**short, "cut": True}


def agent(session_id: str, offer: Offer, now_ms: int) -> bytes:
    """Return the frame with the agent's offer."""
    fields = attrs.asdict(offer)
    if not offer.truncated:
        del fields["truncated"]
    return _frame("agent", "What the agent offers.", now_ms, {"session_id": session_id, "agent": fields})


def gauge(session_id: str, told: Mapping[str, Any], now_ms: int) -> bytes:
    """Return the frame with the agent's figures: how full the context is, what the session cost, and its limits."""
    return _frame("gauge", _gauge_line(told), now_ms, {**told, "session_id": session_id})


def tool_output(session_id: str, told: ToolOutputs, now_ms: int) -> bytes:
    """Return the frame with what running tools have printed so far."""
    outputs = [{"tool_id": one.tool_id, "offset": one.offset, "output": one.output} for one in told.outputs]
    fields = {"session_id": session_id, "turn_id": told.turn_id, "outputs": outputs}
    return _frame("tool_output", "The output of running tools.", now_ms, fields)


def _gauge_line(figures: Mapping[str, Any]) -> str:
    context = figures.get("context")
    known = context if isinstance(context, dict) else {}
    used, window = known.get("used"), known.get("window")
    if isinstance(used, int) and isinstance(window, int) and window > 0:
        return f"The context is {100 * used // window} % full."
    return "The agent reported its limits."


def _devices(devices: Sequence[AttachedDevice], most: int = SHOWN_DEVICES) -> dict[str, Any]:
    fields: dict[str, Any] = {"devices": [attrs.asdict(device) for device in devices[:most]]}
    return fields if len(devices) <= most else {**fields, "device_count": len(devices)}


def detached(session_id: str, now_ms: int, content: str = "") -> bytes:
    """Return the frame after which this connection no longer follows a session."""
    return _frame("detached", content or f"Detached from {session_id}.", now_ms, {"session_id": session_id})


def accepted(session_id: str, reply: Accepted, now_ms: int) -> bytes:
    """Return the confirmation that a message is on disk."""
    fields = {
        "session_id": session_id,
        "message_id": reply.message_id,
        "seq": reply.seq,
        "duplicate": reply.duplicate,
    }
    return _frame("accepted", "The message was accepted.", now_ms, fields)


def rejected(session_id: str, reply: Rejected, now_ms: int) -> bytes:
    """Return the refusal of a command, with its reason."""
    fields: dict[str, Any] = {"session_id": session_id, "code": reply.code}
    if reply.message_id is not None:
        fields["message_id"] = reply.message_id
    if reply.request_id is not None:
        fields["request_id"] = reply.request_id
    if reply.head is not None:
        fields["head"] = {"epoch": reply.head.epoch, "seq": reply.head.seq}
    if reply.by_device is not None:
        fields["by_device"] = reply.by_device
    if reply.by_session is not None:
        fields["by_session"] = reply.by_session
    if reply.where is not None:
        fields["where"] = told_where(reply.where)
    if reply.conflicts is not None:
        fields["conflicts"] = list(reply.conflicts[:MAX_CONFLICTS])
    return _frame("rejected", reply.content, now_ms, fields)


def error(
    code: str, content: str, now_ms: int, session_id: str | None = None, message_id: str | None = None
) -> bytes:
    """Return an error that is not an event: it does not end a turn."""
    ids = {"code": code, "session_id": session_id, "message_id": message_id}
    return _frame("error", content, now_ms, {name: value for name, value in ids.items() if value is not None})


def bad_frame(wrong: WireError, now_ms: int) -> bytes:
    """Return the error about a wrong frame, with what is wrong and where."""
    fields = {"code": wrong.code, "what": wrong.what, "where": wrong.path}
    if wrong.session_id is not None:
        fields["session_id"] = wrong.session_id
    return _frame("error", f"Bad frame: {wrong}.", now_ms, fields)


def pong(now_ms: int) -> bytes:
    """Return the answer to a `ping`."""
    return _frame("pong", "pong", now_ms, {})


def heartbeats(heads: Mapping[str, tuple[int, int]], now_ms: int) -> list[bytes]:
    """Return each followed session's head, as (epoch, head_seq): one frame, or several for very many sessions."""
    pairs = list(heads.items())
    starts = range(0, max(len(pairs), 1), HEARTBEAT_SESSIONS)
    return [_heartbeat(pairs[start : start + HEARTBEAT_SESSIONS], now_ms) for start in starts]


def _heartbeat(pairs: Sequence[tuple[str, tuple[int, int]]], now_ms: int) -> bytes:
    sessions = {name: {"epoch": epoch, "head_seq": head_seq} for name, (epoch, head_seq) in pairs}
    return _frame("heartbeat", "The connection is alive.", now_ms, {"sessions": sessions})


def news(session_id: str, item: TransientUpdate, own_label: str, now_ms: int) -> bytes | None:
    """Return a transient update of a session; None if this device, known by its label, must not get it."""
    of = {"session_id": session_id}
    if isinstance(item, Presence):
        names = ", ".join(device.name for device in item.devices[:SHOWN_DEVICES])
        return _frame("presence", f"Attached: {names or 'nobody'}.", now_ms, {**of, **_devices(item.devices)})
    if isinstance(item, OfferChanged):
        return agent(session_id, item.offer, now_ms)
    if isinstance(item, GaugeMoved):
        return gauge(session_id, item.gauge, now_ms)
    if isinstance(item, ToolOutputs):
        return tool_output(session_id, item, now_ms)
    if isinstance(item, SessionProblem):
        return None if item.code is None else error(item.code, item.content, now_ms, session_id)
    if item.by_device == own_label:
        return None
    of["by_device"] = item.by_device
    if isinstance(item, DraftChanged):
        return _frame("draft", item.content, now_ms, of)
    return _read_mark(item, of, now_ms)


def _read_mark(item: ReadMarkMoved, of: dict[str, str], now_ms: int) -> bytes:
    # Not `seq`: a frame with `seq` is an event of the journal.
    return _frame("mark_read", f"Read up to {item.read_seq}.", now_ms, {**of, "read_seq": item.read_seq})


def session_entry(record: SessionRecord, machine: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a session as lists show it. `machine`: its home, if several machines share the sessions."""
    summary = record.summary
    return {
        "session_id": record.session_id,
        "agent_type": record.agent_type,
        "device_id": record.device_id,
        "title": summary.title if summary else "",
        "state": summary.state if summary else "idle",
        "message_count": summary.message_count if summary else 0,
        "head_seq": record.head_seq,
        "epoch": record.epoch,
        "created_at": timestamp(record.created_at_ms),
        "last_activity": timestamp(record.last_activity_ms),
        "pinned": record.pinned,
        "archived": record.archived,
        "pending": summary.pending_count if summary else 0,
        "machine": machine,
        **_shown(record),
    }


def _shown(record: SessionRecord) -> dict[str, Any]:
    """Return the parts of a session's settings, to-do list and queue that lists show."""
    shown = record.summary.shown if record.summary is not None else None
    fields = {} if shown is None else orjson.loads(shown)
    held = fields.get("held")
    settings = fields.get("settings")
    if settings is None:  # nothing happened in it since it was created
        made = orjson.loads(record.settings) if record.settings else {}
        names = ("workspace", "model", "permission_mode", "effort")
        settings = {name: made.get(name) for name in names}
    return {
        "workspace": settings["workspace"] or record.workspace,
        "settings": settings,
        "plan": fields.get("plan"),
        "background": fields.get("background", 0),
        "where": told_where(_where(fields.get("where"))),
        "held": None if held is None else told_held(Held(held["code"], held["until_ms"])),
    }


def left_turns(record: SessionRecord) -> frozenset[str]:
    """Return the turns that somebody left behind by going back at the desk."""
    shown = record.summary.shown if record.summary is not None else None
    return frozenset() if shown is None else frozenset(orjson.loads(shown).get("left", ()))


def _where(kept: Any) -> Where | None:
    return None if kept is None else Where(**kept)


def alert(fields: Mapping[str, Any], now_ms: int) -> bytes:
    """Return the news of an alert, for a device that watches the list."""
    words = "A session needs somebody." if fields["state"] == "open" else "An alert is settled."
    return _frame("alert", words, now_ms, fields)


def session_changed(
    record: SessionRecord, unread: int, now_ms: int, machine: Mapping[str, str] | None = None
) -> bytes:
    """Return a session's new entry for a device that watches the list."""
    fields = {**session_entry(record, machine), "unread": unread}
    return _frame("session_changed", f"{record.session_id} changed.", now_ms, fields)
