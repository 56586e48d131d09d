"""The sessions of a server, for a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builderos.client.terminal import table
from builderos.client.wire.http import call
from builderos.client.wire.server import LinkLostError, Server

__all__ = ["fetch_sessions", "session_table"]

HEADINGS = ("SESSION", "AGENT", "STATE", "MESSAGES", "LAST ACTIVITY", "TITLE")
FIELDS = ("session_id", "agent_type", "state", "message_count", "last_activity", "title")


def fetch_sessions(server: Server, limit: int) -> list[Mapping[str, Any]]:
    """Return the server's newest sessions. Blocks. Raises RefusedError, LinkLostError."""
    sessions = call(server, "GET", f"/api/sessions?limit={limit}").get("sessions")
    if not isinstance(sessions, list):
        raise LinkLostError(f"the answer of {server.url} is not a list of sessions")
    return [session for session in sessions if isinstance(session, dict)]


def session_table(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return the sessions as lines of aligned columns."""
    return table(HEADINGS, [[session.get(name) for name in FIELDS] for session in sessions])
