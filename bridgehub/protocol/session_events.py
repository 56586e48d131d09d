"""What a hub reports of its session: what the agent offers and remembers, checkpoints, and what happens in a terminal that
shares the agent's program.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

__all__ = [
    "AgentMemory",
    "AgentOffered",
    "Checkpointed",
    "Gauged",
    "Joined",
    "LeftOut",
    "PersonSaid",
    "SettingsTold",
    "Titled",
]


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
        at_desk: whether somebody chose them in a terminal.
    """

    turn_id: str | None
    settings: dict[str, str | None]
    refused: str | None = None
    at_desk: bool = False


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
class PersonSaid:
    """A person sent one more message into the running turn, in a terminal that shares the agent's program.

    `of_turn`: the id of the running turn if a terminal had begun it.
    """

    turn_id: str
    message_id: str
    content: str
    of_turn: str


@attrs.frozen
class Joined:
    """Whether terminals share the agent's program now. It belongs to no turn."""

    turn_id: str | None
    is_joined: bool


@attrs.frozen
class Titled:
    """Somebody gave the conversation a title in the agent's own program. It belongs to no turn."""

    turn_id: str | None
    title: str
