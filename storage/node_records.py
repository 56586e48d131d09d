"""What a node knows of the others: plain rows, without a database."""

from __future__ import annotations

import attrs

__all__ = ["Mail", "NodeState"]


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
