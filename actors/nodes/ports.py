"""What the nodes' parts need of the rest: the post, and this machine's own sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import trio

from actors.commands import Envelope
from actors.errors import MachineAway
from actors.tail import Listener, Tail
from storage.errors import StorageUnavailable
from storage.node_records import NodeState

__all__ = ["SILENT_S", "Heads", "OwnSessions", "Post", "has_ended", "incarnation_of"]

SILENT_S = 3.0
"""Without a beat for so long, this node knows nothing of the others."""

KEYS_S = 1.0
"""A key that was revoked at another node is not valid here for longer."""


class Post(Protocol):
    """The post of this node; implemented by `storage.postgres.nodes.office`."""

    @property
    def node(self) -> str:
        """This node's name."""
        ...

    @property
    def nodes(self) -> Mapping[str, NodeState]:
        """All nodes that were ever there, as the last beat saw them."""
        ...

    @property
    def silent_s(self) -> float:
        """Seconds since the last good beat began."""
        ...

    async def is_fresh(self, within_s: float, wait_s: float) -> bool:
        """Return whether a beat began in the last `within_s`; wait up to `wait_s` for one."""
        ...

    def post(self, node: str, body: bytes, *, within_s: float = ..., bulk: bool = ...) -> trio.Event:
        """Post a mail; return what is set once it is posted, or dropped after `within_s`. Never blocks. Mail from one
        node to another arrives in the order of posting, but `bulk` mail lets all other mail pass."""
        ...


class OwnSessions(Protocol):
    """The sessions of this machine; implemented by the supervisor."""

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        """Hand a command to the session's owner on this machine, as `actors.ports.CommandBus.submit`."""
        ...

    def listen(self, session_id: str, listener: Listener) -> AbstractContextManager[Tail]:
        """Be woken by the session's news while inside the block."""
        ...

    def listeners_of(self, session_id: str) -> Sequence[Listener]:
        """Return all that listen to a session now."""
        ...


class Heads(Protocol):
    """Reads how far sessions are."""

    async def heads(self, session_ids: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """Return home, epoch and head of these sessions, without those that are gone. Raises StorageError."""
        ...


def incarnation_of(post: Post, node: str) -> int:
    """Return which start of a node runs now. Raises MachineAway, or StorageUnavailable if nobody can know."""
    if post.silent_s > SILENT_S:
        raise StorageUnavailable("the database does not answer, so other machines cannot be reached")
    state = post.nodes.get(node)
    if state is None or not state.is_alive:
        raise MachineAway(node)
    return state.incarnation


def has_ended(post: Post, node: str, incarnation: int) -> bool:
    """Return whether this start of a node does not run any more, as far as this node knows."""
    state = post.nodes.get(node)
    return state is None or not state.is_alive or state.incarnation != incarnation
