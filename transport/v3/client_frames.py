"""The frames that a device may send (PROTOCOL section 3), one frozen class per `type`. `v3.decode` makes them."""

from __future__ import annotations

from typing import ClassVar, Literal, NewType

import attrs

__all__ = [
    "Answers",
    "AttachFrame",
    "AttachmentRef",
    "AuthFrame",
    "CancelFrame",
    "ClientFrame",
    "CommandFrame",
    "ConfigureFrame",
    "DecideFrame",
    "DetachFrame",
    "DraftFrame",
    "EditedInput",
    "EventSeq",
    "FocusFrame",
    "HistoryCount",
    "Id",
    "IdleSeconds",
    "InterruptFrame",
    "MarkReadFrame",
    "Moment",
    "OrganizeFrame",
    "PaceMs",
    "PaintMs",
    "PaintedFrame",
    "PathText",
    "PingFrame",
    "Position",
    "RenameFrame",
    "RenewFrame",
    "ResolveFrame",
    "RevokeGrantFrame",
    "SendFrame",
    "SendNowFrame",
    "SettingsAsked",
    "SettingsChange",
    "ShortText",
    "StopTaskFrame",
    "TakeOverFrame",
    "UndoFrame",
    "WarmFrame",
    "WatchSessionsFrame",
    "WorktreeAsked",
]

Id = NewType("Id", str)
"""1 to 128 of `A-Z a-z 0-9 . _ -`."""

MessageId = NewType("MessageId", str)
"""1 to 128 code points of any kind: the device chooses it, and it is only ever compared."""

ShortText = NewType("ShortText", str)
"""1 to 4096 code points: a key, a path, a name."""

PathText = NewType("PathText", str)
"""1 to 4096 code points, none of them null."""

Answers = NewType("Answers", object)
"""Any JSON, nested at most 32 deep."""

EditedInput = NewType("EditedInput", dict[str, object])
"""Fields of a request's input with their new values: an object of at most 64 KiB as JSON, nested at most 32 deep."""

SettingsChange = NewType("SettingsChange", dict[str, str | None])
"""Any of `model`, `permission_mode`, `effort`; null is the agent's default."""

WorktreeAsked = NewType("WorktreeAsked", object)
"""True, or the name of a worktree to be; false is none."""

NodeName = NewType("NodeName", str)
"""The name of a machine: 1 to 31 small letters, digits and hyphens."""

Moment = NewType("Moment", int)
"""A time in ISO 8601 with its offset from UTC; here in milliseconds since 1970."""

IdleSeconds = NewType("IdleSeconds", float)
"""0 or more seconds."""

HistoryCount = NewType("HistoryCount", int)
"""0 to 1000 turns."""

PaceMs = NewType("PaceMs", int)
"""0 to 10000 milliseconds."""

EventSeq = NewType("EventSeq", int)
"""1 or more."""

PaintMs = NewType("PaintMs", int)
"""0 to 3600000 milliseconds."""


@attrs.frozen
class Position:
    """A place in a session's journal."""

    epoch: int
    seq: int


@attrs.frozen
class SettingsAsked:
    """The wanted settings of a new session; None leaves a setting to the server. `node`: the machine to make it on."""

    workspace: PathText | None = None
    model: ShortText | None = None
    permission_mode: ShortText | None = None
    effort: ShortText | None = None
    worktree: WorktreeAsked | None = None
    node: NodeName | None = None


@attrs.frozen
class AttachmentRef:
    """An upload of this server, by its `url`. Other fields from the device are ignored."""

    url: ShortText


@attrs.frozen
class AuthFrame:
    """The first frame, if no header had a key."""

    name: ClassVar[str] = "auth"
    token: ShortText = attrs.field(repr=False)


@attrs.frozen
class AttachFrame:
    """Follow a session; create it if it does not exist and `agent` is given."""

    name: ClassVar[str] = "attach"
    session_id: Id
    agent: ShortText | None = None
    device_id: Id | None = None
    after: Position | None = None
    history: HistoryCount = HistoryCount(50)
    observe: bool = False
    pace_ms: PaceMs = PaceMs(0)
    settings: SettingsAsked | None = None
    html: bool = False


@attrs.frozen
class SendFrame:
    """Send a message."""

    name: ClassVar[str] = "send"
    session_id: Id
    message_id: MessageId
    content: str
    attachments: tuple[AttachmentRef, ...] = ()
    if_head: Position | None = None
    mode: Literal["queue", "steer"] = "queue"
    not_before: Moment | None = None

    def __attrs_post_init__(self) -> None:
        if self.mode == "steer" and self.not_before is not None:
            raise ValueError("a message into the running turn cannot have a time")


@attrs.frozen
class SendNowFrame:
    """Run a message for later now."""

    name: ClassVar[str] = "send_now"
    session_id: Id
    message_id: MessageId


@attrs.frozen
class CancelFrame:
    """Remove a queued message."""

    name: ClassVar[str] = "cancel"
    session_id: Id
    message_id: MessageId


@attrs.frozen
class InterruptFrame:
    """Stop the running turn, or the tasks in the background."""

    name: ClassVar[str] = "interrupt"
    session_id: Id
    turn_id: ShortText | None = None
    background: bool = False


@attrs.frozen
class StopTaskFrame:
    """Stop one task in the background."""

    name: ClassVar[str] = "stop_task"
    session_id: Id
    task_id: ShortText


@attrs.frozen
class DecideFrame:
    """Answer a permission request: by a decision, or by an option of the agent's own."""

    name: ClassVar[str] = "decide"
    session_id: Id
    request_id: ShortText
    decision: Literal["allow", "deny", "allow_session"] | None = None
    note: str | None = None
    answers: Answers | None = None
    input: EditedInput | None = None
    mode: ShortText | None = None
    option: ShortText | None = None


@attrs.frozen
class ConfigureFrame:
    """Change a session's settings."""

    name: ClassVar[str] = "configure"
    session_id: Id
    settings: SettingsChange


@attrs.frozen
class RevokeGrantFrame:
    """Revoke a grant for the session."""

    name: ClassVar[str] = "revoke_grant"
    session_id: Id
    grant: ShortText


@attrs.frozen
class TakeOverFrame:
    """End the program that has the session open in a terminal."""

    name: ClassVar[str] = "take_over"
    session_id: Id
    force: bool = False


@attrs.frozen
class RenewFrame:
    """Start the agent's conversation again, without its memory."""

    name: ClassVar[str] = "renew"
    session_id: Id


@attrs.frozen
class OrganizeFrame:
    """Pin or archive a session."""

    name: ClassVar[str] = "organize"
    session_id: Id
    pinned: bool | None = None
    archived: bool | None = None


@attrs.frozen
class WarmFrame:
    """Tell the server that a person is about to write."""

    name: ClassVar[str] = "warm"
    session_id: Id


@attrs.frozen
class PaintedFrame:
    """Report how long after its time an event was shown."""

    name: ClassVar[str] = "painted"
    session_id: Id
    seq: EventSeq
    ms: PaintMs


@attrs.frozen
class ResolveFrame:
    """Decide what becomes of an `unknown` message."""

    name: ClassVar[str] = "resolve"
    session_id: Id
    message_id: MessageId
    action: Literal["retry", "discard"]


@attrs.frozen
class RenameFrame:
    """Give the session a title."""

    name: ClassVar[str] = "rename"
    session_id: Id
    title: str


@attrs.frozen
class UndoFrame:
    """Take back what a turn changed, or an earlier undo; exactly one of the two is named."""

    name: ClassVar[str] = "undo"
    session_id: Id
    turn_id: ShortText | None = None
    undo_id: ShortText | None = None
    force: bool = False

    def __attrs_post_init__(self) -> None:
        if (self.turn_id is None) == (self.undo_id is None):
            raise ValueError("expected turn_id or undo_id")


@attrs.frozen
class MarkReadFrame:
    """Record how far this person has read."""

    name: ClassVar[str] = "mark_read"
    session_id: Id
    seq: int


@attrs.frozen
class DraftFrame:
    """Store the text that this person is typing."""

    name: ClassVar[str] = "draft"
    session_id: Id
    content: str


@attrs.frozen
class DetachFrame:
    """Stop following a session."""

    name: ClassVar[str] = "detach"
    session_id: Id


@attrs.frozen
class WatchSessionsFrame:
    """Get changes in the list of sessions."""

    name: ClassVar[str] = "watch_sessions"


@attrs.frozen
class FocusFrame:
    """Tell what a person looks at on this device; counts for 60 s."""

    name: ClassVar[str] = "focus"
    session_id: Id | None = None
    visible: bool = True
    idle_s: IdleSeconds = IdleSeconds(0.0)


@attrs.frozen
class PingFrame:
    """Ask for a `pong`."""

    name: ClassVar[str] = "ping"


CommandFrame = (
    SendFrame
    | SendNowFrame
    | CancelFrame
    | InterruptFrame
    | StopTaskFrame
    | DecideFrame
    | ConfigureFrame
    | RevokeGrantFrame
    | RenewFrame
    | TakeOverFrame
    | OrganizeFrame
    | WarmFrame
    | PaintedFrame
    | ResolveFrame
    | RenameFrame
    | UndoFrame
    | MarkReadFrame
    | DraftFrame
)
"""Frames for the session's owner, from an attached device."""

ClientFrame = (
    AuthFrame | AttachFrame | CommandFrame | DetachFrame | WatchSessionsFrame | FocusFrame | PingFrame
)
