"""What happens in a hub: the events that it numbers, keeps until they are acknowledged, and reports to its server.

Frozen classes of the link (`messages` has the rest of them, and hands these on).
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from bridgehub.protocol.requests import PermissionAsked, PermissionSettled
from bridgehub.protocol.session_events import (
    AgentMemory,
    AgentOffered,
    Checkpointed,
    Gauged,
    Joined,
    LeftOut,
    PersonSaid,
    SettingsTold,
    Titled,
)
from bridgehub.protocol.tool_events import ToolBegan, ToolEnded, ToolOutput, ToolsPrinted

__all__ = [
    "AgentMemory",
    "AgentOffered",
    "BlockDropped",
    "Checkpointed",
    "Consumed",
    "Gauged",
    "HistoryWanted",
    "HubEvent",
    "Joined",
    "LeftOut",
    "Noticed",
    "PermissionAsked",
    "PermissionSettled",
    "PersonSaid",
    "PlanChanged",
    "SettingsTold",
    "SteerLost",
    "SteerRefused",
    "SteerTaken",
    "TaskBegan",
    "TaskEnded",
    "TaskProgressed",
    "TextPiece",
    "Titled",
    "ToolBegan",
    "ToolEnded",
    "ToolOutput",
    "ToolsPrinted",
    "TurnBegan",
    "TurnDone",
    "TurnFailed",
    "TurnStopped",
]


@attrs.frozen
class TurnBegan:
    """The agent began with a turn that no prompt asked for. `turn_id` is the hub's, unique in the session.

    Attributes:
        is_desk: a person began it, in a terminal that shares the agent's program.
        said: that person's message; None: it began without one.
    """

    turn_id: str
    is_desk: bool = False
    said: str | None = None


@attrs.frozen
class Consumed:
    """The agent has taken the prompt; from here on it must not be sent again."""

    turn_id: str


@attrs.frozen
class SteerTaken:
    """The agent took a steered message into the running turn."""

    turn_id: str
    message_id: str


@attrs.frozen
class SteerRefused:
    """The agent did not take a steered message and never will: it waits for a turn of its own."""

    turn_id: str
    message_id: str


@attrs.frozen
class SteerLost:
    """Nobody knows whether the agent took a steered message: it must not be sent again by itself.

    It comes right before its turn's end.
    """

    turn_id: str
    message_id: str


@attrs.frozen
class HistoryWanted:
    """The driver asks for what was said before this turn; it waits for `History`.

    `limit_bytes`: about how much text it can take.
    """

    turn_id: str
    limit_bytes: int


@attrs.frozen
class TextPiece:
    """A piece of the answer (`text`) or of the reasoning (`thinking`), at most 256 KiB as JSON."""

    turn_id: str
    channel: Literal["text", "thinking"]
    block: str
    text: str


@attrs.frozen
class BlockDropped:
    """The service broke off an answer and begins it again: what this block had is not part of the answer.

    No piece of the block follows.
    """

    turn_id: str
    channel: Literal["text", "thinking"]
    block: str


@attrs.frozen
class PlanChanged:
    """The agent's list of what it is about to do, whole: objects with `content` and `status`."""

    turn_id: str
    entries: tuple[dict[str, Any], ...]


@attrs.frozen
class TaskBegan:
    """Delegated work began. `background`: it may outlive its turn, and ends by `TaskEnded` in any case."""

    turn_id: str | None
    task_id: str
    title: str
    agent_type: str
    parent_task_id: str | None = None
    background: bool = False


@attrs.frozen
class TaskProgressed:
    """A word from delegated work. `turn_id` None: of work in the background, between two turns."""

    turn_id: str | None
    task_id: str
    progress: str


@attrs.frozen
class TaskEnded:
    """Delegated work ended. `turn_id` None: of work in the background, between two turns."""

    turn_id: str | None
    task_id: str
    state: Literal["succeeded", "failed", "cancelled"]
    result: str | None = None


@attrs.frozen
class Noticed:
    """Something that a person should know."""

    turn_id: str | None
    code: str
    content: str
    attempt: int | None = None
    retry_in_s: float | None = None


@attrs.frozen
class TurnDone:
    """The turn came to its good end.

    `position`: where the agent's own record of the conversation stands now, for a fork; None if it cannot fork there.
    """

    turn_id: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None
    position: dict[str, str] | None = None


@attrs.frozen
class TurnFailed:
    """The turn came to a bad end; `code` is one of PROTOCOL section 3."""

    turn_id: str
    code: Literal[
        "not_installed",
        "not_signed_in",
        "model_error",
        "agent_exited",
        "agent_protocol",
        "timeout",
        "usage_limit",
        "context_full",
        "conversation_refused",
    ]
    content: str
    retryable: bool
    resets_at_ms: int | None = None
    ways: tuple[str, ...] = ()


@attrs.frozen
class TurnStopped:
    """The turn was interrupted. `at_desk`: by somebody in the agent's own program."""

    turn_id: str
    at_desk: bool = False


HubEvent = (
    Consumed
    | SteerTaken
    | SteerRefused
    | SteerLost
    | AgentMemory
    | AgentOffered
    | Gauged
    | SettingsTold
    | HistoryWanted
    | TextPiece
    | BlockDropped
    | ToolBegan
    | ToolEnded
    | ToolsPrinted
    | PermissionAsked
    | PlanChanged
    | TaskBegan
    | TaskProgressed
    | TaskEnded
    | Noticed
    | TurnBegan
    | PersonSaid
    | PermissionSettled
    | Joined
    | Titled
    | Checkpointed
    | TurnDone
    | TurnFailed
    | TurnStopped
)
