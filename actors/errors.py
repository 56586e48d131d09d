"""The errors of this package, one for each role."""

from __future__ import annotations

__all__ = [
    "ActorError",
    "HubError",
    "HubFenced",
    "HubKillFailed",
    "HubLost",
    "HubProtocolError",
    "HubStartFailed",
    "MachineAway",
    "NodeCallRefused",
    "SessionBusy",
    "SessionFailed",
    "ShuttingDown",
    "UnknownNode",
]


class ActorError(Exception):
    """Root of all errors of this package."""


class SessionFailed(ActorError):
    """The session's actor crashed too often; a command that comes `retry_in_s` later starts it again."""

    def __init__(self, session_id: str, retry_in_s: float) -> None:
        super().__init__(f"session {session_id} failed; it can be started again in {retry_in_s:.0f} s")
        self.retry_in_s = retry_in_s


class SessionBusy(ActorError):
    """What was asked for cannot be done while the session has work: a turn runs, or a message waits."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id} has work to do")


class ShuttingDown(ActorError):
    """The server is about to stop and takes no more commands."""


class MachineAway(ActorError):
    """The machine that the session is at home on cannot be reached now.

    `was_asked`: it had a command before, and nobody knows whether it was done.
    """

    def __init__(self, machine: str, *, was_asked: bool = False) -> None:
        lost = f"It is not known whether this was done: its machine ({machine}) went away."
        super().__init__(lost if was_asked else f"Its machine ({machine}) is away.")
        self.machine = machine


class UnknownNode(ActorError):
    """There is no machine of this name among those that share the database."""

    def __init__(self, node: str) -> None:
        super().__init__(f"There is no machine {node} here.")
        self.node = node


class NodeCallRefused(ActorError):
    """Another machine refused what was asked; `code` is for a device, the text for a person."""

    def __init__(self, code: str, content: str) -> None:
        super().__init__(content)
        self.code = code


class HubError(ActorError):
    """Root of what can be wrong with a hub."""


class HubLost(HubError):
    """The link broke or there is no such hub; connecting again shows which."""


class HubStartFailed(HubError):
    """A hub could not be started; no process was left behind and no prompt was taken."""


class HubFenced(HubError):
    """A later owner of the session holds the hub: this one must stop."""


class HubProtocolError(HubError):
    """The hub broke the protocol; it cannot be trusted any more."""


class HubKillFailed(HubError):
    """Processes of a dead hub could not be killed: nothing may be sent again while they live."""
