"""What is said in a session: messages, turns with their text, and how turns end."""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs

__all__ = [
    "Attachment",
    "BlockDropped",
    "BranchLeft",
    "Complete",
    "Delivery",
    "DeliveryState",
    "Interrupted",
    "Message",
    "Notice",
    "Piece",
    "Thinking",
    "TurnError",
    "TurnErrorCode",
    "TurnStarted",
    "Usage",
    "UserMessage",
]

DeliveryState = Literal[
    "queued", "handed", "consumed", "answered", "failed", "interrupted", "cancelled", "unknown"
]


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
    """A turn's end by a person. `by_device` is None if the record of who it was died with a server."""

    kind: ClassVar[str] = "interrupted"
    by_device: str | None


@attrs.frozen
class BranchLeft:
    """Somebody went back in the conversation at the desk: what these turns said does not count any more."""

    kind: ClassVar[str] = "branch_left"
    turn_ids: tuple[str, ...]


Piece = Message | Thinking
