"""A session's state on its way into storage, back, and to a device that attaches. Pure.

What is kept is everything but the text of a running turn: that lies in the journal, in the turn's own pieces.
"""

from __future__ import annotations

from typing import Any

import attrs
import orjson

from actors.events.codec import CONVERTER, decode_settings
from actors.events.session import Held, Settings
from actors.events.work import PlanEntry
from actors.replies import QueuedMessage, SessionView
from actors.session.state import BackgroundTask, RunningUndo, SessionState, Turn, WaitingMessage
from actors.tail import ToolOutputs
from bridgehub.desk.records import DeskMark, Where
from storage.records import SessionRecord, Summary

__all__ = ["has_work", "restore", "summary", "view"]


@attrs.define
class _Snapshot:
    """What storage keeps of a state beside the journal; every field has a default, so that older ones load."""

    title: str = ""
    failed: bool = False
    message_count: int = 0
    taken: int = 0
    turn: Turn | None = None
    queue: dict[str, WaitingMessage] = attrs.field(factory=dict)
    unknown: dict[str, WaitingMessage] = attrs.field(factory=dict)
    resolved: dict[str, str | None] = attrs.field(factory=dict)
    authors: dict[str, int] = attrs.field(factory=dict)
    authors_floor: int = 0
    leaving: dict[str, None] = attrs.field(factory=dict)
    grants: dict[str, str | None] = attrs.field(factory=dict)
    declined: dict[str, None] = attrs.field(factory=dict)
    grants_at: dict[str, int] = attrs.field(factory=dict)
    agent_memory: dict[str, Any] | None = None
    unsaved: tuple[str, str] | None = None
    undo: RunningUndo | None = None
    undone: list[str] = attrs.field(factory=list)
    undone_more: int = 0
    person_mode: str | None = None
    mode_by: str | None = None
    gauge: dict[str, Any] = attrs.field(factory=dict)
    settings: Settings | None = None
    plan: tuple[PlanEntry, ...] = ()
    held: Held | None = None
    renewals: int = 0
    background: dict[str, BackgroundTask] = attrs.field(factory=dict)
    background_full: bool = False
    epoch: int = 0
    desk: DeskMark | None = None
    where: Where | None = None
    unsure: bool = False
    live: dict[str, None] = attrs.field(factory=dict)
    joined: bool = False
    left: dict[str, None] = attrs.field(factory=dict)


_FIELDS = [field.name for field in attrs.fields(_Snapshot)]


def summary(state: SessionState) -> Summary:
    """Return what is written with the next append; the snapshot is in it only if it changed.

    Call it once an append: a caller that could not write the result must throw the state away, or write the
    same again.
    """
    snapshot = None
    if state.control_dirty or not state.snapshot_kept:
        snapshot = _snapshot(state)
        state.control_dirty = False
        state.snapshot_kept = True
    return Summary(
        title=state.title,
        state=state.word,
        message_count=state.message_count,
        pending_count=len(state.turn.requests) if state.turn else 0,
        unfinished=_is_unfinished(state),
        due_at_ms=state.due_at_ms(),
        shown=None if snapshot is None else _shown(state),
        snapshot=snapshot,
        hub_id=state.hub_id,
        hub_seq=state.hub_seq,
    )


def _is_unfinished(state: SessionState) -> bool:
    """Tell whether a server that starts must look after the session without being asked."""
    return _is_at_work(state) or bool(state.background)


def _is_at_work(state: SessionState) -> bool:
    return state.turn is not None or state.next_waiting() is not None or state.undo is not None


def has_work(record: SessionRecord) -> bool:
    """Tell whether a turn runs, a message waits or an undo is not done; a task in the background does not count."""
    kept = record.summary
    return kept is not None and kept.unfinished and _is_at_work(restore(record))


def _shown(state: SessionState) -> bytes:
    """Return what lists show of a session beside its summary."""
    done = sum(one.status == "completed" for one in state.plan)
    return orjson.dumps(
        {
            "settings": attrs.asdict(state.settings),
            "plan": {"done": done, "total": len(state.plan)} if state.plan else None,
            "held": None if state.held is None else attrs.asdict(state.held),
            "background": len(state.background),
            "left": list(state.left),
            "where": None if state.where is None else attrs.asdict(state.where),
        }
    )


def _snapshot(state: SessionState) -> bytes:
    kept = _Snapshot(**{name: getattr(state, name) for name in _FIELDS})
    turn = state.turn
    if turn is None or not turn.requests:
        return orjson.dumps(CONVERTER.unstructure(kept))
    kept.turn = attrs.evolve(turn, requests={})
    body = CONVERTER.unstructure(kept)
    for request_id, request in turn.requests.items():
        if request_id not in turn.encoded:
            turn.encoded[request_id] = orjson.dumps(CONVERTER.unstructure(request))
    body["turn"]["requests"] = {name: orjson.Fragment(turn.encoded[name]) for name in turn.requests}
    return orjson.dumps(body)


def restore(record: SessionRecord) -> SessionState:
    """Return the state of a session as it was at its last append, but for two things that lie in the journal.

    The running turn's answer is empty: its pieces (after `started_seq`) must be added. So are the previews of
    the messages that wait (at their `seq`).
    """
    kept = _Snapshot()
    if record.summary is not None:
        assert record.summary.snapshot is not None, "what is read always has one"
        kept = CONVERTER.structure(orjson.loads(record.summary.snapshot), _Snapshot)
    if kept.settings is None:  # nobody has changed them since the session was made
        kept.settings = decode_settings(record.settings)
        kept.person_mode = kept.settings.permission_mode
    is_restored = kept.epoch not in (0, record.epoch)
    kept.epoch = record.epoch
    return SessionState(
        session_id=record.session_id,
        agent_type=record.agent_type,
        was_restored=is_restored,
        archived=record.archived,
        head_seq=record.head_seq,
        read_seq=record.read_seq,
        draft=record.draft,
        hub_id=record.summary.hub_id if record.summary else None,
        hub_seq=record.summary.hub_seq if record.summary else 0,
        snapshot_kept=record.summary is not None,
        **{name: getattr(kept, name) for name in _FIELDS},
    )


def view(state: SessionState) -> SessionView:
    """Return the session as a device sees it when it attaches."""
    pending = tuple(state.turn.requests.values()) if state.turn else ()
    return SessionView(
        epoch=state.epoch,
        head_seq=state.head_seq,
        agent_type=state.agent_type,
        title=state.title,
        state=state.word,
        settings=state.settings,
        queue=tuple(
            QueuedMessage(one.message_id, one.device_id, one.preview, one.not_before_ms, one.kept)
            for one in state.queue.values()
        ),
        pending=pending,
        read_seq=state.read_seq,
        draft=state.draft,
        grants=state.granted(),
        offer=state.offer,
        gauge=state.gauge,
        printed=_printed(state),
        plan=state.plan,
        held=state.held,
        background=tuple(one.started for one in state.background.values()),
        where=state.where,
    )


def _printed(state: SessionState) -> ToolOutputs | None:
    turn = state.turn
    return (
        ToolOutputs(turn.turn_id, tuple(turn.printed.values())) if turn is not None and turn.printed else None
    )
