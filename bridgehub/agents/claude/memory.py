"""What the session's next hub must know about its Claude, kept with the session (`HubSpec.agent_memory`), and the ids that
its conversation has had or may get.
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

from bridgehub.agents.claude.settings import config_folder

__all__ = ["MAX_CONVERSATIONS", "ConversationRow", "Memory", "RecordPosition", "later_ids"]

MAX_FOLDERS = 20
"""Newest folders of attached files that are remembered. Usually there is one, since all uploads are in one folder."""

MAX_CONVERSATIONS = 256
"""How many conversations one session may begin. After that the newest one can only be resumed."""

_ROW = uuid.UUID("0b7ad4b4-2f4f-4a39-9d0f-6f1f6f0c9f52")
"""Namespace of a conversation's later ids. Must never change."""


@attrs.frozen
class RecordPosition:
    """A place in Claude Code's own record: the id of a conversation, and of the last message that counts."""

    conversation: str
    message: str

    @classmethod
    def of(cls, told: dict[str, Any]) -> RecordPosition | None:
        """Read the position from an earlier turn's end. None if invalid: both ids become arguments of a program."""
        try:
            return cls(str(uuid.UUID(told.get("conversation"))), str(uuid.UUID(told.get("message"))))
        except (ValueError, TypeError, AttributeError):
            return None

    def told(self) -> dict[str, str]:
        """Return it in the form of `TurnDone.position`."""
        return {"conversation": self.conversation, "message": self.message}


@attrs.frozen
class Memory:
    """What one hub remembers for the next.

    Attributes:
        is_cleared: the person had the conversation cleared. The next turn begins a new one.
        folders: folders with attached files. The agent reads there without asking.
        native: the conversation that a terminal began and this session continues.
        fork: the conversation from which this session forks, and its last message that counts.
    """

    is_cleared: bool = False
    folders: tuple[str, ...] = ()
    fork: RecordPosition | None = None
    native: str = ""

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> Memory:
        """Read what an earlier hub remembered. Fields that are not understood count as missing."""
        known = data or {}
        folders = known.get("folders")
        fork = known.get("fork")
        return cls(
            known.get("is_cleared") is True,
            tuple(each for each in folders if isinstance(each, str)) if isinstance(folders, list) else (),
            RecordPosition.of(fork) if isinstance(fork, dict) else None,
            _id(known.get("native")),
        )

    def told(self) -> dict[str, Any]:
        """Return it in the form of `Sink.remember`."""
        told: dict[str, Any] = {"is_cleared": self.is_cleared, "folders": list(self.folders)}
        if self.native:
            told["native"] = self.native
        return told if self.fork is None else {**told, "fork": self.fork.told()}

    def with_files(self, paths: list[str]) -> Memory:
        """Return it with the folders of these files added."""
        new = dict.fromkeys(str(Path(path).parent) for path in paths if Path(path).is_absolute())
        added = [folder for folder in new if folder not in self.folders]
        return attrs.evolve(self, folders=(*self.folders, *added)[-MAX_FOLDERS:])


def _id(value: object) -> str:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else ""
    except ValueError:
        return ""


@lru_cache(maxsize=64)
def later_ids(first: str) -> tuple[str, ...]:
    """Return the ids that follow the first one. They are kept: each takes 6 µs, and every prompt asks for them."""
    return tuple(str(uuid.uuid5(_ROW, f"{first}/{n}")) for n in range(1, MAX_CONVERSATIONS))


@attrs.frozen
class ConversationRow:
    """The ids that a session's conversation has had or may get, oldest first. The first is the hub's own."""

    ids: tuple[str, ...]

    @classmethod
    def of(cls, agent_session_id: str) -> ConversationRow:
        """Return the row that begins with this id."""
        return cls((agent_session_id, *later_ids(agent_session_id)))

    def newest(self, env: dict[str, str]) -> int | None:
        """Return the index of the newest id that has a transcript. Reads the disk: use a thread."""
        projects = config_folder(env) / "projects"
        known = {path.stem for path in projects.glob("*/*.jsonl")}
        return max((n for n, name in enumerate(self.ids) if name in known), default=None)
