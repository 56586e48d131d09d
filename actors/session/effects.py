"""What a step wants done once its events are committed: frozen classes, run in order by the session actor."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.events.permissions import PermissionResolved
from actors.offer import Offer
from actors.replies import Reply
from actors.tail import TransientUpdate
from bridgehub.desk.records import Where
from bridgehub.protocol.messages import ToHub

__all__ = [
    "Announce",
    "AnswerCommand",
    "CarryOutUndo",
    "Effect",
    "EndElsewhere",
    "ForgetHub",
    "HandOver",
    "KeepNote",
    "KeepOffer",
    "KillHub",
    "NoteChange",
    "PlanUndo",
    "SendHistory",
    "SendToHub",
    "StartHub",
    "SteerHub",
    "StopHub",
    "TellDesk",
]


@attrs.frozen
class AnswerCommand:
    """Tell the author of a command."""

    to: Callable[[Reply], None]
    reply: Reply


@attrs.frozen
class StartHub:
    """Start the hub whose id was journalled with this step."""

    hub_id: str


@attrs.frozen
class HandOver:
    """Give the prompt of the running turn to the hub; `message_seq` is where the message stands."""

    turn_id: str
    message_id: str
    message_seq: int
    taken_before: int


@attrs.frozen
class SteerHub:
    """Give one more message to the running turn; `message_seq` is where the message stands."""

    turn_id: str
    message_id: str
    message_seq: int


@attrs.frozen
class SendHistory:
    """Tell the hub what was said before the running turn of `message_id`, the newest that fits in `limit_bytes`."""

    turn_id: str
    message_id: str
    before_seq: int
    limit_bytes: int


@attrs.frozen
class SendToHub:
    """Say something to the hub; lost if no link is up, and made good when the next one is."""

    message: ToHub


@attrs.frozen
class StopHub:
    """End an idle hub, politely; the session has forgotten it already."""

    hub_id: str


@attrs.frozen
class KillHub:
    """End a hub that cannot be trusted, with its tree; the session has forgotten it already."""

    hub_id: str


@attrs.frozen
class ForgetHub:
    """Remove a dead hub's files: what it left is journalled."""

    hub_id: str


@attrs.frozen
class PlanUndo:
    """Find out what an undo would do; answered by `UndoPlanned`."""

    undo_id: str
    turn_id: str | None
    of_undo: str | None
    force: bool


@attrs.frozen
class CarryOutUndo:
    """Do what was planned, or what is left of it; answered by `UndoCarried`."""

    undo_id: str


@attrs.frozen
class KeepNote:
    """Keep a read mark, a draft, or where a session stands in lists, beside the journal."""

    read_seq: int | None = None
    draft: str | None = None
    pinned: bool | None = None
    archived: bool | None = None


@attrs.frozen
class KeepOffer:
    """Remember what the agent offers, for every session with it."""

    offer: Offer


@attrs.frozen
class EndElsewhere:
    """Ask the program that has the session open to end."""

    where: Where


@attrs.frozen
class TellDesk:
    """Tell the terminal that asked what a person decided."""

    resolved: PermissionResolved


@attrs.frozen
class NoteChange:
    """Have lists show the session again."""


@attrs.frozen
class Announce:
    """Show transient news to all who are attached."""

    news: TransientUpdate


@attrs.frozen
class NoteInAudit:
    """Note in the audit what a key did; `subject` is what it did it to, if that is more than the session."""

    act: str
    key_id: str
    subject: str | None = None


Effect = (
    AnswerCommand
    | StartHub
    | HandOver
    | SteerHub
    | SendHistory
    | SendToHub
    | StopHub
    | KillHub
    | ForgetHub
    | PlanUndo
    | CarryOutUndo
    | KeepNote
    | KeepOffer
    | NoteChange
    | TellDesk
    | EndElsewhere
    | Announce
    | NoteInAudit
)
