"""Which events raise an alert, and which settle one. Pure: rows of the journals in, changes of the alerts out.

| event | raises | settles |
|---|---|---|
| `permission_requested` | `decision`, due after 2 s: many requests are allowed at once by a rule | |
| `permission_resolved` | | the `decision` of this request |
| `complete` | `finished`, due after 4 s | |
| `error` | `failed`, or `unknown` with the code `unknown_outcome` | |
| `session_updated` with `failed` | `failed` | |
| `task_finished` in the background, outside a turn | `background` | |
| `notice` `later_held` | `late` | |
| `user_message` | | all but decisions, as far as they are older |
| `delivery` `cancelled`, `turn_started` | | the `late` of this message (`settled_by_word`) |

An event that is over ten minutes old raises nothing. It comes from an import, or from a time when nobody was served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.events.committed import Committed
from actors.events.conversation import Complete, Delivery, Notice, TurnError, TurnStarted, UserMessage
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import SessionUpdated
from actors.events.work import TaskFinished
from storage.tables.notifications.alerts import Change, Raise, Settle

__all__ = [
    "DECIDED",
    "DESK",
    "READ_KINDS",
    "changes_of",
    "grace_ms",
    "settled_by_reading",
    "settled_by_word",
    "settled_with_session",
]

DECISION_GRACE_MS: Final = 2_000
OTHER_GRACE_MS: Final = 4_000
DESK_GRACE_MS: Final = 20_000
"""A request of a terminal session is shown there too, where its person most likely is."""

TOO_OLD_MS: Final = 10 * 60 * 1000

DESK: Final = "desk"
"""The label of what happens in a terminal session. Only its requests raise alerts."""

READ_KINDS: Final = frozenset({"finished", "failed", "unknown", "background", "late"})
"""The kinds that reading, or writing the next message, settles."""

ALL_KINDS: Final = READ_KINDS | {"decision"}

DECIDED: Final = frozenset({"allow", "deny", "allow_session", "cancelled"})
"""The values of an alert's `how` that are decisions."""


def changes_of(
    session_id: str, item: Committed, *, author: str | None, now_ms: int, new_id: Callable[[], str]
) -> list[Change]:
    """Return what an event changes.

    Args:
        author: the label whose message the session works on; None if that is not known.
    """
    event = item.event
    if isinstance(event, PermissionResolved):
        return [
            Settle(
                session_id=session_id,
                kinds={"decision"},
                subject=event.request_id,
                how=event.decision,
                reason="answered_first",
                by_device=event.by_device,
                at_ms=now_ms,
            )
        ]
    if isinstance(event, UserMessage):
        return [
            Settle(
                session_id=session_id,
                kinds=READ_KINDS,
                seq=item.seq,
                how="message",
                reason="answered_first",
                by_device=item.device_id,
                at_ms=now_ms,
            )
        ]
    found = _raised(item)
    if found is None or item.at_ms < now_ms - TOO_OLD_MS:
        return []
    kind, subject = found
    return [
        Raise(
            alert_id=new_id(),
            session_id=session_id,
            seq=item.seq,
            kind=kind,
            subject=subject,
            author=author,
            raised_at_ms=item.at_ms,
            due_at_ms=item.at_ms + grace_ms(kind, item.device_id),
        )
    ]


def _raised(item: Committed) -> tuple[str, str] | None:
    """Return the kind and the subject of the alert that an event raises."""
    event = item.event
    if isinstance(event, PermissionRequested):
        return "decision", event.request_id
    if item.device_id == DESK:
        return None
    turn = item.turn_id or str(item.seq)
    if isinstance(event, Complete):
        return "finished", turn
    if isinstance(event, TurnError):
        return "unknown" if event.code == "unknown_outcome" else "failed", turn
    if isinstance(event, SessionUpdated) and event.failed:
        return "failed", f"session-{item.seq}"
    if isinstance(event, TaskFinished) and event.background and item.turn_id is None:
        return None if event.state == "cancelled" else ("background", event.task_id)
    if isinstance(event, Notice) and event.code == "later_held":
        return "late", turn
    return None


def grace_ms(kind: str, device_id: str | None) -> int:
    """Return how long after its event an alert waits for being settled by itself."""
    if kind != "decision":
        return OTHER_GRACE_MS
    return DESK_GRACE_MS if device_id == DESK else DECISION_GRACE_MS


def settled_by_reading(session_id: str, read_seq: int, now_ms: int) -> Settle:
    """Return the end of what somebody has read."""
    return Settle(
        session_id=session_id, kinds=READ_KINDS, seq=read_seq, how="read", reason="seen_first", at_ms=now_ms
    )


def settled_by_word(session_id: str, item: Committed, now_ms: int) -> Settle | None:
    """Return the end of the alert of a message for later that was taken back, or whose turn began; None if the event
    is neither."""
    event, how = item.event, ""
    if isinstance(event, Delivery) and event.state == "cancelled":
        how = "cancelled"
    elif isinstance(event, TurnStarted):
        how = "sent"
    if not how or item.turn_id is None:
        return None
    return Settle(
        session_id=session_id,
        kinds={"late"},
        subject=item.turn_id,
        seq=item.seq,
        how=how,
        reason="answered_first",
        by_device=item.device_id,
        at_ms=now_ms,
    )


def settled_with_session(session_id: str, now_ms: int) -> Settle:
    """Return the end of all alerts of a session that is gone: no event of it is left."""
    return Settle(session_id=session_id, kinds=ALL_KINDS, how="gone", reason="answered_first", at_ms=now_ms)
