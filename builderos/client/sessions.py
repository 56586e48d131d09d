"""`builderos sessions`: the sessions of a server as a table."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from builderos.client.server import LinkLostError, Server
from builderos.client.terminal import one_line

__all__ = ["fetch_sessions", "table"]

ANSWER_S = 10.0
"""How long the server may take to answer."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""500 sessions take about 150 KiB."""

HEADINGS = ("SESSION", "AGENT", "STATE", "MESSAGES", "LAST ACTIVITY", "TITLE")


def fetch_sessions(server: Server, limit: int) -> list[Mapping[str, Any]]:
    """Ask the server for its newest sessions. Blocks. Raises LinkLostError."""
    request = urllib.request.Request(
        f"{server.url}/api/sessions?limit={limit}", headers={"X-API-Key": server.key}
    )
    # no proxy: the key is for this server only
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    context = server.ssl_context()
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=ANSWER_S) as answer:
            body = orjson.loads(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        raise LinkLostError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, orjson.JSONDecodeError) as error:
        reason = getattr(error, "reason", error)
        raise LinkLostError(f"{server.url}: {getattr(reason, 'strerror', None) or reason}") from error
    sessions = body.get("sessions") if isinstance(body, dict) else None
    if not isinstance(sessions, list):
        raise LinkLostError(f"the answer of {server.url} is not a list of sessions")
    return [session for session in sessions if isinstance(session, dict)]


def table(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return the sessions as lines of aligned columns, a heading first."""
    names = ("session_id", "agent_type", "state", "message_count", "last_activity", "title")
    rows = [HEADINGS, *(tuple(_cell(session.get(name)) for name in names) for session in sessions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _cell(value: Any) -> str:
    return "" if value is None else one_line(str(value), 128)
