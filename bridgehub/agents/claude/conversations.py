"""The ids that a session's conversation with Claude Code has had or may get."""

from __future__ import annotations

import uuid
from functools import lru_cache

import attrs

from bridgehub.agents.claude.settings import config_folder

__all__ = ["MAX_CONVERSATIONS", "ConversationRow", "later_ids"]

MAX_CONVERSATIONS = 256
"""How many conversations one session may begin. After that the newest one can only be resumed."""

_ROW = uuid.UUID("0b7ad4b4-2f4f-4a39-9d0f-6f1f6f0c9f52")
"""Namespace of a conversation's later ids. Must never change."""


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
