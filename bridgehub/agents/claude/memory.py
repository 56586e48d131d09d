"""What the session's next hub must know about its Claude, kept with the session (`HubSpec.agent_memory`)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Memory", "Position"]

MAX_FOLDERS = 20
"""Folders of attached files that are remembered, the newest: uploads lie in one, so it is one as a rule."""


@attrs.frozen
class Position:
    """A place in Claude Code's own record: the id of a conversation, and of the last message that counts."""

    conversation: str
    message: str

    @classmethod
    def of(cls, told: dict[str, Any]) -> Position | None:
        """Read what an earlier turn's end noted; None if that is no position. Both become arguments of a program."""
        try:
            return cls(str(uuid.UUID(told.get("conversation"))), str(uuid.UUID(told.get("message"))))
        except (ValueError, TypeError, AttributeError):
            return None

    def told(self) -> dict[str, str]:
        """Return it as `TurnDone.position` takes it."""
        return {"conversation": self.conversation, "message": self.message}


@attrs.frozen
class Memory:
    """See the module.

    Attributes:
        is_cleared: the person had the conversation cleared: the next turn belongs to a new one.
        folders: where attached files lie; the agent reads there unasked.
        native: the conversation that a terminal began and this session goes on with.
        fork: the conversation, and the last message in it, that this session goes on from.
    """

    is_cleared: bool = False
    folders: tuple[str, ...] = ()
    fork: Position | None = None
    native: str = ""

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> Memory:
        """Read what an earlier hub reported; what is not understood counts as not said."""
        known = data or {}
        folders = known.get("folders")
        fork = known.get("fork")
        return cls(
            known.get("is_cleared") is True,
            tuple(each for each in folders if isinstance(each, str)) if isinstance(folders, list) else (),
            Position.of(fork) if isinstance(fork, dict) else None,
            _id(known.get("native")),
        )

    def told(self) -> dict[str, Any]:
        """Return it as `Sink.remember` takes it."""
        told: dict[str, Any] = {"is_cleared": self.is_cleared, "folders": list(self.folders)}
        if self.native:
            told["native"] = self.native
        return told if self.fork is None else {**told, "fork": self.fork.told()}

    def with_files(self, paths: list[str]) -> Memory:
        """Return it with the folders of these files."""
        new = dict.fromkeys(str(Path(path).parent) for path in paths if Path(path).is_absolute())
        added = [folder for folder in new if folder not in self.folders]
        return attrs.evolve(self, folders=(*self.folders, *added)[-MAX_FOLDERS:])


def _id(value: object) -> str:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else ""
    except ValueError:
        return ""
