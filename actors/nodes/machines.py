"""The nodes as devices see them, and what this node may say about keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs

from actors.errors import RefusedAtHome, UnknownNode
from actors.nodes.ports import Post

__all__ = ["KEYS_S", "Machines"]

KEYS_S: Final = 1.0
"""A key that was revoked at another node is not valid here for longer."""

WAIT_S: Final = 2.5
"""How long a sign-in waits until this node has heard the others again."""


@attrs.frozen
class Machines:
    """Implements `transport.ports.Nodes`.

    Attributes:
        home_of: the node of a session that was just used; None if it is not known.
        is_fresh: returns whether a beat began within some seconds; waits up to some seconds for one.
        ask: has a node do something; as `actors.nodes.calls.HomeCalls.ask`.
    """

    post: Post
    home_of: Callable[[str], str | None]
    is_fresh: Callable[[float, float], Awaitable[bool]]
    ask: Callable[[str, str, str, dict[str, Any]], Awaitable[None]]

    @property
    def own(self) -> str:
        """This node's name."""
        return self.post.node

    async def create(self, node: str, session_id: str, fields: Mapping[str, Any]) -> bool:
        """Have another node make a session; return False if there was one of this id."""
        if node not in self.post.nodes:
            raise UnknownNode(node)
        try:
            await self.ask(node, "create", session_id, dict(fields))
        except RefusedAtHome as refused:
            if refused.code == "exists":
                return False
            raise
        return True

    def machine(self, owner: str) -> dict[str, str]:
        """Return how devices see the machine of a session."""
        if owner == self.post.node:
            return {"id": owner, "state": "here"}
        known = self.post.nodes.get(owner)
        return {"id": owner, "state": "there" if known is not None and known.is_alive else "away"}

    def machine_of(self, session_id: str) -> dict[str, str] | None:
        """Return the same for a session that was just used."""
        home = self.home_of(session_id)
        return None if home is None else self.machine(home)

    def listing(self) -> list[dict[str, str]]:
        """Return all nodes."""
        return [{**self.machine(one.id), "version": one.version} for one in self.post.nodes.values()]

    async def knows_keys(self) -> bool:
        """Return whether this node knows which keys are valid now. Waits a moment until it does."""
        return await self.is_fresh(KEYS_S, WAIT_S)
