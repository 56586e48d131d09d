"""The direct answers to a device's command, and the view of a session that `attach` gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from actors.events.permissions import PermissionRequested
from actors.events.session import Held, SessionGrant, Settings
from actors.events.work import PlanEntry, TaskStarted
from actors.offer import NO_OFFER, Offer
from actors.tail import ToolOutputs
from bridgehub.desk.records import Where

__all__ = ["Accepted", "Closed", "IfHead", "QueuedMessage", "RejectCode", "Rejected", "Reply", "SessionView"]

RejectCode = Literal[
    "not_attached",
    "observer",
    "forbidden",
    "stale_head",
    "queue_full",
    "too_large",
    "bad_attachment",
    "not_queued",
    "cannot_steer",
    "unknown_request",
    "already_resolved",
    "not_editable",
    "bad_setting",
    "bad_workspace",
    "bad_worktree",
    "bypass_disabled",
    "unknown_grant",
    "unknown_task",
    "too_many",
    "bad_time",
    "busy",
    "nothing_to_interrupt",
    "nothing_to_undo",
    "no_checkpoint",
    "not_unknown",
    "open_elsewhere",
    "storage",
    "shutting_down",
    "machine_away",
    "unknown_node",
]


@attrs.frozen
class IfHead:
    """The position that a sender last saw (PROTOCOL section 3, `if_head`)."""

    epoch: int
    seq: int


@attrs.frozen
class Accepted:
    """The message is on disk; `seq` is that of its `user_message`."""

    message_id: str
    seq: int
    duplicate: bool


@attrs.frozen
class Rejected:
    """The command was refused and left no trace.

    Attributes:
        message_id, request_id: which one it answers, if the command had one.
        head: the present position, with `stale_head`.
        by_device: who was first, with `already_resolved`.
        by_session: which other session works in the same folder, with `busy`.
        conflicts: files that would be left alone, with `nothing_to_undo`.
        where: which program has the session open, with `open_elsewhere`.
    """

    code: RejectCode
    content: str
    message_id: str | None = None
    request_id: str | None = None
    head: IfHead | None = None
    by_device: str | None = None
    by_session: str | None = None
    conflicts: tuple[str, ...] | None = None
    where: Where | None = None


@attrs.frozen
class QueuedMessage:
    """A message that waits; `preview` is its first 1,000 code points. `held`: it waits for a person's word."""

    message_id: str
    device_id: str
    preview: str
    not_before_ms: int | None = None
    held: bool = False


@attrs.frozen
class SessionView:
    """A live session at one position, for a device that attaches. All of it is true at `head_seq`.

    Attributes:
        grants: what was allowed for the whole session.
        offer: what its agent offers, as far as that is known.
        plan: the agent's newest to-do list.
        gauge: the agent's last report of its context, cost and limits.
        printed: what its running tools have printed so far.
        background: its tasks that outlive their turn.
        where: the program of the person's own that has it open.
    """

    epoch: int
    head_seq: int
    agent_type: str
    title: str
    state: str
    settings: Settings
    queue: tuple[QueuedMessage, ...]
    pending: tuple[PermissionRequested, ...]
    read_seq: int
    draft: str
    grants: tuple[SessionGrant, ...] = ()
    offer: Offer = NO_OFFER
    gauge: Mapping[str, Any] = attrs.field(factory=dict)
    printed: ToolOutputs | None = None
    plan: tuple[PlanEntry, ...] = ()
    held: Held | None = None
    background: tuple[TaskStarted, ...] = ()
    where: Where | None = None


@attrs.frozen
class Closed:
    """The answer to `Close`."""

    process_killed: bool


Reply = Accepted | Rejected | SessionView | Closed
