"""What happens in a terminal that shares the agent's program, as a hub reports it."""

from __future__ import annotations

import attrs

__all__ = ["Joined", "PermissionSettled", "PersonSaid", "Titled"]


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
class PermissionSettled:
    """A request was answered in a terminal that shares the agent's program."""

    turn_id: str
    request_id: str


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
