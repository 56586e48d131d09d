"""A conversation as a program keeps it, whole. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from bridgehub.desk.records import DeskEvent, DeskMark, DeskSession

__all__ = ["DeskHistory", "NoSuchSession"]


class NoSuchSession(Exception):
    """The program has no such session, or its record cannot be read."""


@attrs.frozen
class DeskHistory:
    """A conversation as it stands.

    Attributes:
        memory: what the agent's driver must know to continue it.
        is_cut: whether older messages were left out.
    """

    session: DeskSession
    events: list[DeskEvent]
    mark: DeskMark
    memory: dict[str, Any]
    is_cut: bool
