"""What a node knows of the others: plain rows, without a database."""

from __future__ import annotations

import re
from typing import Final

import attrs

__all__ = ["NODE_NAME", "Mail", "NodeState", "is_node_name"]

NODE_NAME: Final = "1 to 31 small letters, digits and hyphens"
_NODE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def is_node_name(text: str) -> bool:
    """Return whether a node may have this name. `self` is the owner of sessions that no node has."""
    return _NODE_NAME.fullmatch(text) is not None and text != "self"


@attrs.frozen
class NodeState:
    """A node, as the last beat saw it. `is_alive`: its lease is not over. `incarnation` rises with each start."""

    id: str
    incarnation: int
    version: str
    is_alive: bool


@attrs.frozen
class Mail:
    """A mail that came. `age_s`: since it was posted, by the clock of the database."""

    age_s: float
    body: bytes
