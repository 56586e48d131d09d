"""What changes about a session itself: its settings, and the saved states of its workspace."""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs

from bridgehub.desk.records import Where

__all__ = [
    "Checkpoint",
    "Ending",
    "Held",
    "LeftOut",
    "SessionGrant",
    "SessionUpdated",
    "Settings",
    "UndoStarted",
    "Undone",
]


@attrs.frozen
class Settings:
    """What a session works with. `model`, `permission_mode`, `effort` None: the agent's own default."""

    workspace: str
    model: str | None = None
    permission_mode: str | None = None
    effort: str | None = None


@attrs.frozen
class SessionGrant:
    """What is allowed for the whole session. `at_ms` None: it was before this was noted."""

    grant: str
    by_device: str | None
    at_ms: int | None


@attrs.frozen
class Held:
    """Why the queue waits, and until when; an empty `code`: it does not any more."""

    code: str
    until_ms: int | None = None


@attrs.frozen
class Ending:
    """A program that has the session open, and who ends it."""

    where: Where
    ending_by: str


@attrs.frozen
class SessionUpdated:
    """A fact about the session that no other event has; None means unchanged.

    Attributes:
        settings: all of them, as they are from now on.
        applies: when a change of settings counts.
        grants: all that is allowed for the whole session.
        held: whether the messages that wait are kept back.
        where: a program in a terminal that a person ends.
    """

    kind: ClassVar[str] = "session_updated"
    title: str | None = None
    failed: bool | None = None
    settings: Settings | None = None
    applies: Literal["now", "next_turn"] | None = None
    grants: tuple[SessionGrant, ...] | None = None
    held: Held | None = None
    where: Ending | None = None


@attrs.frozen
class LeftOut:
    """A file that a checkpoint does not hold."""

    path: str
    reason: str


@attrs.frozen
class Checkpoint:
    """The workspace was saved around the turn `of_turn`; see `bridgehub.protocol.events.Checkpointed`."""

    kind: ClassVar[str] = "checkpoint"
    of_turn: str
    checkpoint_id: str
    position: Literal["before", "after"]
    files: int | None = None
    added: int | None = None
    removed: int | None = None
    late: bool = False
    left_out: tuple[LeftOut, ...] = ()


@attrs.frozen
class UndoStarted:
    """An undo is planned and from here on carried out, also after a crash.

    Attributes:
        turn_id: the turn that is taken back; None for the undo of an undo.
        checkpoint_id: the state just before.
        of_undo: the undo that is taken back.
    """

    kind: ClassVar[str] = "undo_started"
    undo_id: str
    turn_id: str | None
    by_device: str
    checkpoint_id: str
    of_undo: str | None = None


@attrs.frozen
class Undone:
    """An undo was carried out. `files`: what was written, removed or given another mode; `conflicts`: left alone."""

    kind: ClassVar[str] = "undone"
    undo_id: str
    files: tuple[str, ...]
    conflicts: tuple[str, ...]
