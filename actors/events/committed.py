"""Every event of a session's journal (PROTOCOL section 3), and its place there. The other files have the classes.

An event says only what its kind adds. `Committed` around it says where and when it stands (seq, turn, author, time).
The wire codec writes `content` of a kind that has no text of its own; it is not kept here.
"""

from __future__ import annotations

import attrs

from actors.events.conversation import (
    BlockDropped,
    BranchLeft,
    Complete,
    Delivery,
    Interrupted,
    Message,
    Notice,
    Thinking,
    TurnError,
    TurnStarted,
    UserMessage,
)
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import Checkpoint, SessionUpdated, Undone, UndoStarted
from actors.events.work import PlanUpdated, TaskFinished, TaskProgress, TaskStarted, ToolFinished, ToolStarted

__all__ = ["BULK_KINDS", "TURN_ENDS", "URGENT_KINDS", "Committed", "Event"]

Event = (
    UserMessage
    | Delivery
    | TurnStarted
    | Message
    | Thinking
    | BlockDropped
    | ToolStarted
    | ToolFinished
    | PermissionRequested
    | PermissionResolved
    | TaskStarted
    | TaskProgress
    | TaskFinished
    | PlanUpdated
    | Notice
    | Complete
    | TurnError
    | Interrupted
    | SessionUpdated
    | Checkpoint
    | UndoStarted
    | Undone
    | BranchLeft
)

TURN_ENDS = frozenset({Complete.kind, TurnError.kind, Interrupted.kind})
URGENT_KINDS = TURN_ENDS | {PermissionRequested.kind}
"""What starts a round of a paced device at once (PROTOCOL section 3, `pace_ms`)."""

BULK_KINDS = frozenset(
    {
        Message.kind,
        Thinking.kind,
        ToolStarted.kind,
        ToolFinished.kind,
        TaskStarted.kind,
        TaskProgress.kind,
        TaskFinished.kind,
        PlanUpdated.kind,
    }
)
"""A commit of only these, in an open turn, needs no fsync (`docs/internals/storage.md`)."""


@attrs.frozen
class Committed:
    """An event that is in the journal, with its place there. It covers `first_seq` … `seq`.

    Attributes:
        at_ms: the moment of journalling, milliseconds since 1970 in UTC.
        turn_id: None outside a turn.
        device_id: the label of the author's device, if there is one.
    """

    seq: int
    first_seq: int
    at_ms: int
    turn_id: str | None
    device_id: str | None
    event: Event
