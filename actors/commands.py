"""What a device may ask of a session, and the direct answers: frozen classes, decoded once at the edge.

A command travels to the session's owner in an `Envelope`, which knows the author and where the answer goes. What
the author may do at all (scope, observing, being attached) is settled at the edge before a command gets here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import attrs

from actors.events.conversation import Attachment
from actors.events.permissions import Decision, RequestKind
from actors.replies import IfHead, RejectCode, Reply

__all__ = [
    "AskAtDesk",
    "Attach",
    "Author",
    "Cancel",
    "Close",
    "Command",
    "Configure",
    "Decide",
    "Draft",
    "Envelope",
    "GiveBack",
    "Interrupt",
    "MarkRead",
    "Organize",
    "Rename",
    "Renew",
    "Resolve",
    "RevokeGrant",
    "Send",
    "SendNow",
    "StopTask",
    "TakeOver",
    "Undo",
    "Warm",
    "WithdrawAtDesk",
]


@attrs.frozen
class Author:
    """Who gives a command: the key's device, the label that it attached with, and the name for people."""

    key_id: str
    device_id: str
    name: str


@attrs.frozen
class Attach:
    """Ask for the session as it stands; the answer is a `SessionView`."""

    name: ClassVar[str] = "attach"


@attrs.frozen
class Send:
    """Bring a message. Answer: `Accepted` or `Rejected`.

    `flaw`: why the message cannot be taken as it is; only its id is looked at then, since it may be a known one.
    """

    name: ClassVar[str] = "send"
    message_id: str
    content: str
    attachments: tuple[Attachment, ...] = ()
    if_head: IfHead | None = None
    mode: Literal["queue", "steer"] = "queue"
    not_before_ms: int | None = None
    flaw: tuple[RejectCode, str] | None = None


@attrs.frozen
class SendNow:
    """Have a message for later run now."""

    name: ClassVar[str] = "send_now"
    message_id: str


@attrs.frozen
class Cancel:
    """Take a queued message back."""

    name: ClassVar[str] = "cancel"
    message_id: str


@attrs.frozen
class Interrupt:
    """Stop the running turn; with `turn_id` only that one. `background`: stop the tasks in the background instead."""

    name: ClassVar[str] = "interrupt"
    turn_id: str | None = None
    background: bool = False


@attrs.frozen
class StopTask:
    """Stop one task in the background."""

    name: ClassVar[str] = "stop_task"
    task_id: str


@attrs.frozen
class Decide:
    """Answer a permission request.

    Attributes:
        input: fields of the request's input as the person changed them.
        mode: the mode to switch to along with the answer.
        option: an option of the agent's own, by its label.
        drives: whether the author may do what needs the scope `drive`: change the input, switch, trust a folder.
    """

    name: ClassVar[str] = "decide"
    request_id: str
    decision: Decision
    note: str | None = None
    answers: Any = None
    input: dict[str, Any] | None = None
    mode: str | None = None
    option: str | None = None
    drives: bool = False


@attrs.frozen
class Configure:
    """Change settings: each field that is named, None being the agent's default."""

    name: ClassVar[str] = "configure"
    changes: dict[str, str | None]


@attrs.frozen
class RevokeGrant:
    """Take back what was allowed for the whole session."""

    name: ClassVar[str] = "revoke_grant"
    grant: str


@attrs.frozen
class GiveBack:
    """End the session's hub, so that a terminal may continue the conversation; refused while a turn runs."""

    name: ClassVar[str] = "give_back"


@attrs.frozen
class AskAtDesk:
    """A terminal asks the person something; its own dialog is open meanwhile. See `PermissionRequested`."""

    name: ClassVar[str] = "ask_at_desk"
    request_id: str
    tool: str
    input: Any
    questions: Any
    about: RequestKind
    title: str
    diff: Any = None


@attrs.frozen
class WithdrawAtDesk:
    """The terminal was answered there, or asks no more."""

    name: ClassVar[str] = "withdraw_at_desk"
    request_id: str


@attrs.frozen
class TakeOver:
    """End the program that has the session open in a terminal; `force`: also one that works or waits."""

    name: ClassVar[str] = "take_over"
    force: bool = False


@attrs.frozen
class Renew:
    """Have the agent start a new conversation, with the history given to it as text."""

    name: ClassVar[str] = "renew"


@attrs.frozen
class Warm:
    """Somebody is about to write: have the hub and the agent's program ready.

    `joins`: a terminal is about to join the program. It is needed for certain, so no limit counts of what may be started
    for nothing, and there is an answer: `Closed`.
    """

    name: ClassVar[str] = "warm"
    joins: bool = False


@attrs.frozen
class Organize:
    """Pin a session or take it out of the way; None leaves it."""

    name: ClassVar[str] = "organize"
    pinned: bool | None = None
    archived: bool | None = None


@attrs.frozen
class Resolve:
    """Say what becomes of a message whose delivery is `unknown`."""

    name: ClassVar[str] = "resolve"
    message_id: str
    action: Literal["retry", "discard"]


@attrs.frozen
class Rename:
    """Give the session a title."""

    name: ClassVar[str] = "rename"
    title: str


@attrs.frozen
class Undo:
    """Take back what a turn changed, or what an earlier undo did. One of the two is given.

    `force`: also while somebody else works in the same folder.
    """

    name: ClassVar[str] = "undo"
    turn_id: str | None = None
    undo_id: str | None = None
    force: bool = False


@attrs.frozen
class MarkRead:
    """Note that this person has read up to `seq`."""

    name: ClassVar[str] = "mark_read"
    seq: int


@attrs.frozen
class Draft:
    """Keep what this person is typing."""

    name: ClassVar[str] = "draft"
    content: str


@attrs.frozen
class Close:
    """End the hub if nobody else is attached and no turn runs. Answer: `Closed`."""

    name: ClassVar[str] = "close"


Command = (
    Attach
    | Send
    | SendNow
    | Cancel
    | Interrupt
    | StopTask
    | Decide
    | Configure
    | RevokeGrant
    | Renew
    | TakeOver
    | AskAtDesk
    | WithdrawAtDesk
    | GiveBack
    | Organize
    | Warm
    | Resolve
    | Rename
    | Undo
    | MarkRead
    | Draft
    | Close
)


@attrs.frozen
class Envelope:
    """A command with its author and the way back.

    `reply` is called at most once, on the event loop, after the commit of what the command caused and before
    any of it is published; it must not block and must not raise.
    """

    command: Command
    author: Author
    reply: Callable[[Reply], None]
