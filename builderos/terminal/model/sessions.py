"""The list of sessions, live. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import attrs

from builderos.client.machines import machine_words

__all__ = ["Sessions", "ago", "hint_of", "name_of"]


@attrs.define(eq=False)
class Sessions:
    """Entries of the server's list by id. `version` grows with every change."""

    entries: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)
    version: int = 0

    def fill(self, entries: object) -> None:
        """Take the whole list."""
        found = [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
        known = self.entries
        self.entries = {
            str(one["session_id"]): {**known.get(str(one["session_id"]), {}), **one}
            for one in found
            if "session_id" in one
        }
        self.version += 1

    def update(self, entry: Mapping[str, Any]) -> None:
        """Take a session's new entry."""
        session_id = entry.get("session_id")
        if not isinstance(session_id, str):
            return
        if entry.get("deleted") is True:
            self.entries.pop(session_id, None)
        else:
            self.entries[session_id] = {**self.entries.get(session_id, {}), **entry}
        self.version += 1

    def listed(self, *, archived: bool = False) -> list[Mapping[str, Any]]:
        """Return the sessions in order: what waits for a person, then pinned ones, then the newest."""
        shown = [one for one in self.entries.values() if (one.get("archived") is True) is archived]
        newest = sorted(shown, key=lambda one: str(one.get("last_activity") or ""), reverse=True)
        return sorted(newest, key=lambda one: (not _waits(one), one.get("pinned") is not True))


def _waits(entry: Mapping[str, Any]) -> bool:
    return entry.get("state") == "waiting"


def name_of(entry: Mapping[str, Any]) -> str:
    """Return how to call a session."""
    return str(entry.get("title") or entry.get("session_id") or "")


def hint_of(entry: Mapping[str, Any], now: datetime) -> str:
    """Return what else to say of it on its line."""
    state = str(entry.get("state") or "")
    words = ["needs you" if state == "waiting" else "" if state == "idle" else state]
    unread = entry.get("unread")
    words.append(f"{unread} unread" if isinstance(unread, int) and unread > 0 else "")
    words.append("pinned" if entry.get("pinned") is True else "")
    words.append(str(entry.get("agent_type") or ""))
    words.append(machine_words(entry.get("machine")))
    workspace = entry.get("workspace")
    words.append(PurePosixPath(workspace).name if isinstance(workspace, str) else "")
    words.append(ago(str(entry.get("last_activity") or ""), now))
    return " · ".join(word for word in words if word)


def ago(moment: str, now: datetime) -> str:
    """Return how long ago a moment of the protocol was; empty if it is none."""
    try:
        seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "now"
