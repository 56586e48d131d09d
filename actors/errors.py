"""The errors of this package, told apart by role: who must do what about it."""

from __future__ import annotations

__all__ = ["ActorError", "HubError", "HubFenced", "HubGarbage", "HubLost", "HubStartFailed", "HubSurvived"]


class ActorError(Exception):
    """Root of all errors of this package. The text is one line without a secret."""


class HubError(ActorError):
    """Something about a hub."""


class HubLost(HubError):
    """The hub is gone, or the link to it is: bury the hub, or connect again."""


class HubFenced(HubError):
    """A later owner of the session holds the hub: this owner must stop."""


class HubStartFailed(HubError):
    """No hub came to be: no process was left behind and no prompt was taken."""


class HubGarbage(HubError):
    """The hub wrote what is no protocol: kill it; the turn ends with `agent_protocol`."""


class HubSurvived(HubError):
    """Processes of a dead hub could not be killed: nothing may be sent again while they live."""
