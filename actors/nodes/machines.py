"""The nodes as devices see them, and what this node may say about keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import attrs

from actors.errors import NodeCallRefused, UnknownNode
from actors.nodes.node_answers import Answers, NodeAnswers
from actors.nodes.node_calls import NodeAnswer, NodeCalls
from actors.nodes.ports import KEYS_S, Post
from storage.tables.devices import DeviceRow

__all__ = ["Machines"]

WAIT_S: Final = 2.5
"""How long a sign-in waits until this node has heard the others again."""


@attrs.frozen
class Machines:
    """Implements `transport.ports.Nodes`.

    Attributes:
        calls, answers: the two ends of node calls.
        home_of: the node of a session that was just used; None if it is not known.
        is_fresh: returns whether a beat began within some seconds; waits up to some seconds for one.
        find_device: returns the device of an id; None if its key is not valid. Raises StorageError.
        counts: returns how many sessions each node has. Raises StorageError.
    """

    post: Post
    home_of: Callable[[str], str | None]
    is_fresh: Callable[[float, float], Awaitable[bool]]
    calls: NodeCalls
    answers: NodeAnswers
    find_device: Callable[[str], Awaitable[DeviceRow | None]]
    counts: Callable[[], Awaitable[dict[str, int]]]

    @property
    def own(self) -> str:
        """This node's name."""
        return self.post.node

    async def create(self, node: str, session_id: str, fields: Mapping[str, Any]) -> bool:
        """Have another node make a session; return False if there was one of this id."""
        if not self.has(node):
            raise UnknownNode(node)
        try:
            await self.ask(node, "create", {**fields, "session_id": session_id})
        except NodeCallRefused as refused:
            if refused.code == "exists":
                return False
            raise
        return True

    def open(self, node: str, name: str, fields: dict[str, Any]) -> AbstractAsyncContextManager[NodeAnswer]:
        """Ask another node for something. See `NodeCalls.open`."""
        return self.calls.open(node, name, fields)

    async def ask(self, node: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Ask another node for JSON. See `NodeCalls.ask`."""
        return await self.calls.ask(node, name, fields)

    def serve(self, name: str, answers: Answers) -> None:
        """Answer calls of this name. See `NodeAnswers.serve`."""
        self.answers.serve(name, answers)

    def has(self, node: str) -> bool:
        """Return whether there is, or ever was, a node of this name."""
        return node in self.post.nodes

    def living(self) -> list[str]:
        """Return the nodes that are well, this one too."""
        return [one.id for one in self.post.nodes.values() if one.is_alive]

    def first(self) -> str | None:
        """Return the node that does what only one may do: it sends notifications. None: none is well."""
        return next((one.id for one in self.post.nodes.values() if one.is_first and one.is_alive), None)

    def machine(self, owner: str) -> dict[str, str]:
        """Return how devices see the machine of a session."""
        known = self.post.nodes.get(owner)
        name = owner if known is None else known.name or owner
        if owner == self.post.node:
            return {"id": owner, "name": name, "state": "here"}
        state = "there" if known is not None and known.is_alive else "away"
        return {"id": owner, "name": name, "state": state}

    def machine_of(self, session_id: str) -> dict[str, str] | None:
        """Return the same for a session that was just used."""
        home = self.home_of(session_id)
        return None if home is None else self.machine(home)

    async def listing(self) -> list[dict[str, Any]]:
        """Return all nodes. A node that is away has no connections."""
        counts = await self.counts()
        return [
            {
                **self.machine(one.id),
                "version": one.version,
                "sessions": counts.get(one.id, 0),
                "connections": one.connections if one.is_alive else 0,
            }
            for one in self.post.nodes.values()
        ]

    async def knows_keys(self) -> bool:
        """Return whether this node knows which keys are valid now. Waits a moment until it does."""
        return await self.is_fresh(KEYS_S, WAIT_S)
