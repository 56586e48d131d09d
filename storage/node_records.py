"""What a node knows of the others: plain rows, without a database."""

from __future__ import annotations

import attrs

__all__ = ["Mail", "Move", "NodeState"]


@attrs.frozen
class NodeState:
    """A node, as the last beat saw it. A change of `connections` alone does not make it another state.

    Attributes:
        incarnation: rises with each start.
        is_alive: its lease is not over.
        name: for people.
        connections: devices that are connected there.
        is_first: it does what only one node may do.
    """

    id: str
    incarnation: int
    version: str
    is_alive: bool
    name: str = ""
    connections: int = attrs.field(default=0, eq=False)
    is_first: bool = False


@attrs.frozen
class Mail:
    """A mail that came. `age_s`: since it was posted, by the clock of the database."""

    age_s: float
    body: bytes


@attrs.frozen
class Move:
    """A session that gets another home.

    Attributes:
        home, owner_epoch, head_seq: as the one who moves it knows them.
        to: the new home.
        is_away: it is moved by another node, and only if the lease of its home is over.
    """

    session_id: str
    home: str
    owner_epoch: int
    head_seq: int
    to: str
    is_away: bool
