"""What happens in a hub: the events that it numbers, keeps until they are acknowledged, and reports to its server.

Frozen classes of the link (`messages` has the rest of them, and hands these on).
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from bridgehub.protocol.desk_events import Joined, PermissionSettled, PersonSaid, Titled
from bridgehub.protocol.tool_output import ToolOutput, ToolsPrinted

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
class AgentMemory:
    """What the driver must know again in the session's next hub; replaces what it reported before.

    Small (at most 16 KiB as JSON); no secrets, since it is kept in the database.
    """

    turn_id: str | None
    data: dict[str, Any]


@attrs.frozen
class AgentOffered:
    """What the agent offers now (PROTOCOL section 8), as JSON; replaces its earlier offer."""

    turn_id: str | None
    offer: dict[str, Any]


@attrs.frozen
class Gauged:
    """How full the context is, what it cost and what limits there are, as JSON; replaces the earlier one."""

    turn_id: str | None
    gauge: dict[str, Any]


@attrs.frozen
class SettingsTold:
    """The agent works with other settings than it was given.

    Attributes:
        settings: those that differ, by their names in `Setup`, with the values that hold now.
        refused: why the agent did not take what it was given, for a person; None: it changed them by itself.
    """

    turn_id: str | None
    settings: dict[str, str | None]
    refused: str | None = None


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
class ToolBegan:
    """The agent calls a tool."""

    turn_id: str
    tool_id: str
    name: str
    input: Any
    parent_tool_id: str | None = None
    blob: dict[str, Any] | None = None


@attrs.frozen
class ToolEnded:
    """A tool call ended. Of an output over 64 KiB `output` is the beginning; `blob` has size and sha256.

    `diff`: what an edit changed, as file entries (PROTOCOL section 9). `pictures`: what it showed, each with `mime_type`,
    and kept as a blob.
    """

    turn_id: str
    tool_id: str
    name: str
    output: str
    is_error: bool
    parent_tool_id: str | None = None
    duration_ms: int | None = None
    blob: dict[str, Any] | None = None
    diff: Any = None
    pictures: tuple[dict[str, Any], ...] = ()


@attrs.frozen
class PermissionAsked:
    """The agent waits for `Decided`.

    Attributes:
        grant: what `allow_session` allows from now on, in words for a person; None: only this call.
        task_id: the delegated task that asks, None for the session's own agent.
        kind: what the request is about, one of `agents.request_words.Kind`; a text here, since the two ends version
            apart.
        title: one line of plain words.
        modes: the modes under which the agent would not have asked.
        diff: what an edit changes, as file entries (PROTOCOL section 9).
        editable: fields of `input` that a person may change.
        denying: those of `options` that deny, beside `deny` itself.
    """

    turn_id: str
    request_id: str
    tool: str
    input: Any
    options: tuple[str, ...]
    questions: Any = None
    grant: str | None = None
    task_id: str | None = None
    kind: str = "other"
    title: str = ""
    modes: tuple[str, ...] = ()
    diff: Any = None
    editable: tuple[str, ...] = ()
    denying: tuple[str, ...] = ()


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
class LeftOut:
    """A file that a checkpoint does not hold. `reason`: a word of PROTOCOL section 9."""

    path: str
    reason: str


@attrs.frozen
class Checkpointed:
    """The workspace was saved. It belongs to no running turn, so `turn_id` is None.

    Attributes:
        of_turn: the turn around which it was taken.
        position: `before` or `after` that turn.
        files, added, removed: after a turn, what differs from the state before it; None before it.
        late: it came later than it should.
        left_out: the first of the files that are not in it.
    """

    turn_id: str | None
    of_turn: str
    checkpoint_id: str
    position: Literal["before", "after"]
    files: int | None = None
    added: int | None = None
    removed: int | None = None
    late: bool = False
    left_out: tuple[LeftOut, ...] = ()


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
