"""The events of a session's journal (PROTOCOL section 3), one frozen class per kind.

An event says only what its kind adds. Where and when it stands (seq, turn, author, time) is said by the
`Committed` around it once it is journalled. `content` of a kind that has no text of its own is written by the
wire codec, not kept here.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs

from bridgehub.desk.records import Where

__all__ = [
    "TURN_ENDS",
    "URGENT_KINDS",
    "Attachment",
    "BlockDropped",
    "BranchLeft",
    "Checkpoint",
    "Committed",
    "Complete",
    "Decision",
    "Delivery",
    "DeliveryState",
    "Ending",
    "Event",
    "Held",
    "Interrupted",
    "LeftOut",
    "Message",
    "Notice",
    "PermissionRequested",
    "PermissionResolved",
    "Piece",
    "PlanEntry",
    "PlanStatus",
    "PlanUpdated",
    "RequestKind",
    "SessionGrant",
    "SessionUpdated",
    "Settings",
    "TaskFinished",
    "TaskProgress",
    "TaskStarted",
    "TaskState",
    "Thinking",
    "ToolFinished",
    "ToolStarted",
    "TurnError",
    "TurnErrorCode",
    "TurnStarted",
    "UndoStarted",
    "Undone",
    "Usage",
    "UserMessage",
]

DeliveryState = Literal[
    "queued", "handed", "consumed", "answered", "failed", "interrupted", "cancelled", "unknown"
]
Decision = Literal["allow", "deny", "allow_session", "cancelled"]
RequestKind = Literal["command", "edit", "read", "fetch", "mcp", "plan", "question", "trust", "other"]
PlanStatus = Literal["pending", "in_progress", "completed"]
TaskState = Literal["running", "succeeded", "failed", "cancelled"]
TurnErrorCode = Literal[
    "not_installed",
    "not_signed_in",
    "model_error",
    "agent_exited",
    "agent_protocol",
    "timeout",
    "unknown_outcome",
    "usage_limit",
    "context_full",
    "conversation_refused",
    "open_elsewhere",
]


@attrs.frozen
class Attachment:
    """A file that came with a message: an upload of this server, by its `url`."""

    id: str
    filename: str
    mime_type: str
    size: int
    type: str
    url: str


@attrs.frozen
class Usage:
    """What a turn cost. None means that the agent did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None


@attrs.frozen
class UserMessage:
    """A person's message, as it was accepted. `not_before_ms`: when its turn may begin; None: at once."""

    kind: ClassVar[str] = "user_message"
    message_id: str
    content: str
    attachments: tuple[Attachment, ...] = ()
    not_before_ms: int | None = None


@attrs.frozen
class Delivery:
    """A step in the life of one user message."""

    kind: ClassVar[str] = "delivery"
    message_id: str
    state: DeliveryState


@attrs.frozen
class TurnStarted:
    """The turn of `message_id` begins; without one the agent began by itself, and `cause` says why."""

    kind: ClassVar[str] = "turn_started"
    message_id: str | None
    cause: str | None = None


@attrs.frozen
class Message:
    """A piece of the answer; `offset` counts the code points of `block` before it."""

    kind: ClassVar[str] = "message"
    content: str
    block: str
    offset: int


@attrs.frozen
class Thinking:
    """A piece of the agent's reasoning, counted like `Message`."""

    kind: ClassVar[str] = "thinking"
    content: str
    block: str
    offset: int


@attrs.frozen
class BlockDropped:
    """The agent's service broke off an answer and begins it again: what `block` had is not part of the answer.

    An empty piece of the block with offset 0 stands right before it.
    """

    kind: ClassVar[str] = "block_dropped"
    block: str


@attrs.frozen
class ToolStarted:
    """The agent calls a tool. `input` is JSON; a longer one is its first 64 KiB as text, with `blob`."""

    kind: ClassVar[str] = "tool_started"
    tool_id: str
    name: str
    input: Any
    parent_tool_id: str | None = None
    blob: Any = None


@attrs.frozen
class ToolFinished:
    """A tool call came to its end. `output` is text; of a longer one the first 64 KiB, with `blob`.

    `diff`: what an edit changed, as file entries. `pictures`: what it showed, each a blob with its `mime_type`.
    """

    kind: ClassVar[str] = "tool_finished"
    tool_id: str
    name: str
    output: str
    is_error: bool
    parent_tool_id: str | None = None
    duration_ms: int | None = None
    blob: Any = None
    diff: Any = None
    pictures: Any = None


@attrs.frozen
class PermissionRequested:
    """The agent waits for a person.

    Attributes:
        questions: where it asks something rather than for a right.
        grant: what `allow_session` allows from now on, in words; None: no more than this call.
        task_id: the delegated task that asks, None for the session's own agent.
        about: what the request is about; the `kind` of its frame.
        title: one line of plain words; empty in requests of earlier versions.
        modes: the modes under which the agent would not have asked.
        diff: what an edit changes, as file entries.
        editable: fields of `input` that a decision may change.
        denying: those of the agent's own options that deny; no device sees them.
    """

    kind: ClassVar[str] = "permission_requested"
    request_id: str
    tool: str
    input: Any
    options: tuple[str, ...]
    questions: Any = None
    grant: str | None = None
    task_id: str | None = None
    about: RequestKind = "other"
    title: str = ""
    modes: tuple[str, ...] = ()
    diff: Any = None
    editable: tuple[str, ...] = ()
    denying: tuple[str, ...] = ()


@attrs.frozen
class PermissionResolved:
    """A request is answered, or cancelled with its turn. `by_device` is None if nobody decided.

    Attributes:
        input: fields of the request's input as the person changed them; None: it ran as it was asked.
        mode: the mode that the person switched to along with the answer.
        option: the agent's own option that the person chose, by its label.
    """

    kind: ClassVar[str] = "permission_resolved"
    request_id: str
    decision: Decision
    by_device: str | None
    note: str | None = None
    answers: Any = None
    input: Any = None
    mode: str | None = None
    option: str | None = None


@attrs.frozen
class TaskStarted:
    """Delegated work began. `background`: it may outlive its turn."""

    kind: ClassVar[str] = "task_started"
    task_id: str
    title: str
    agent_type: str
    parent_task_id: str | None = None
    state: TaskState = "running"
    background: bool = False


@attrs.frozen
class TaskProgress:
    """A word from delegated work."""

    kind: ClassVar[str] = "task_progress"
    task_id: str
    title: str
    agent_type: str
    progress: str
    parent_task_id: str | None = None
    state: TaskState = "running"
    background: bool = False


@attrs.frozen
class TaskFinished:
    """Delegated work ended."""

    kind: ClassVar[str] = "task_finished"
    task_id: str
    title: str
    agent_type: str
    state: TaskState
    result: str | None
    parent_task_id: str | None = None
    background: bool = False


@attrs.frozen
class PlanEntry:
    """One thing that the agent is about to do."""

    content: str
    status: PlanStatus


@attrs.frozen
class PlanUpdated:
    """The agent's to-do list, whole."""

    kind: ClassVar[str] = "plan_updated"
    entries: tuple[PlanEntry, ...]


@attrs.frozen
class Notice:
    """Something that a person should know, with nothing to act on."""

    kind: ClassVar[str] = "notice"
    code: str
    content: str
    attempt: int | None = None
    retry_in_s: float | None = None


@attrs.frozen
class Complete:
    """A turn's good end. Length and hash are those of the answer's text (PROTOCOL section 3, Text).

    `agent_position`: where the agent's own record of the conversation stood then, for a fork. No device sees it.
    """

    kind: ClassVar[str] = "complete"
    message_count: int
    text_length: int
    text_sha256: str
    usage: Usage | None = None
    agent_position: dict[str, str] | None = None


@attrs.frozen
class TurnError:
    """A turn's bad end.

    Attributes:
        resets_at_ms: when the limit is over that ended it.
        ways: what a person can do about it: some of `compact`, `renew`, `fork`.
    """

    kind: ClassVar[str] = "error"
    code: TurnErrorCode
    content: str
    retryable: bool
    resets_at_ms: int | None = None
    ways: tuple[str, ...] = ()


@attrs.frozen
class Interrupted:
    """A turn's end by a person. `by_device` is None where the record of who it was died with a server."""

    kind: ClassVar[str] = "interrupted"
    by_device: str | None


@attrs.frozen
class Settings:
    """What a session works with. `model`, `permission_mode`, `effort` None: the agent's own default."""

    workspace: str
    model: str | None = None
    permission_mode: str | None = None
    effort: str | None = None


@attrs.frozen
class SessionGrant:
    """What is allowed for the whole session. `at_ms` None: it was before this was noted."""

    grant: str
    by_device: str | None
    at_ms: int | None


@attrs.frozen
class Held:
    """Why the queue waits, and until when; an empty `code`: it does not any more."""

    code: str
    until_ms: int | None = None


@attrs.frozen
class Ending:
    """A program that has the session open, and who ends it."""

    where: Where
    ending_by: str


@attrs.frozen
class SessionUpdated:
    """A fact about the session that no other event has; None means unchanged.

    Attributes:
        settings: all of them, as they are from now on.
        applies: when a change of settings counts.
        grants: all that is allowed for the whole session.
        held: whether the messages that wait are kept back.
        where: a program in a terminal that a person ends.
    """

    kind: ClassVar[str] = "session_updated"
    title: str | None = None
    failed: bool | None = None
    settings: Settings | None = None
    applies: Literal["now", "next_turn"] | None = None
    grants: tuple[SessionGrant, ...] | None = None
    held: Held | None = None
    where: Ending | None = None


@attrs.frozen
class LeftOut:
    """A file that a checkpoint does not hold."""

    path: str
    reason: str


@attrs.frozen
class Checkpoint:
    """The workspace was saved around the turn `of_turn`; see `bridgehub.protocol.events.Checkpointed`."""

    kind: ClassVar[str] = "checkpoint"
    of_turn: str
    checkpoint_id: str
    position: Literal["before", "after"]
    files: int | None = None
    added: int | None = None
    removed: int | None = None
    late: bool = False
    left_out: tuple[LeftOut, ...] = ()


@attrs.frozen
class UndoStarted:
    """An undo is planned and from here on carried out, also after a crash.

    Attributes:
        turn_id: the turn that is taken back; None for the undo of an undo.
        checkpoint_id: the state just before.
        of_undo: the undo that is taken back.
    """

    kind: ClassVar[str] = "undo_started"
    undo_id: str
    turn_id: str | None
    by_device: str
    checkpoint_id: str
    of_undo: str | None = None


@attrs.frozen
class Undone:
    """An undo was carried out. `files`: what was written, removed or given another mode; `conflicts`: left alone."""

    kind: ClassVar[str] = "undone"
    undo_id: str
    files: tuple[str, ...]
    conflicts: tuple[str, ...]


@attrs.frozen
class BranchLeft:
    """Somebody went back in the conversation at the desk: what these turns said does not count any more."""

    kind: ClassVar[str] = "branch_left"
    turn_ids: tuple[str, ...]


Piece = Message | Thinking
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


@attrs.frozen
class Committed:
    """An event that is in the journal, with its place there. It covers `first_seq` … `seq`.

    Attributes:
        at_ms: the moment of journalling, milliseconds since 1970 in UTC.
        turn_id: None outside a turn.
        device_id: the label of the author's device, where there is one.
    """

    seq: int
    first_seq: int
    at_ms: int
    turn_id: str | None
    device_id: str | None
    event: Event
