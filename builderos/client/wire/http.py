"""HTTP calls from a command to its server, and the list of its sessions."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, Final

import orjson

from builderos.client.machines import with_machines
from builderos.client.state import RefusedError
from builderos.client.terminal import table
from builderos.client.wire.server import LinkLostError, Server

__all__ = ["answer_to", "call", "fetch_sessions", "opener", "session_table"]

ANSWER_S: Final = 10.0
"""How long the server may take to answer."""

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""1,000 devices take about 200 KiB."""

HEADINGS: Final = ("SESSION", "AGENT", "STATE", "MESSAGES", "LAST ACTIVITY", "TITLE")
FIELDS: Final = ("session_id", "agent_type", "state", "message_count", "last_activity", "title")


def call(
    server: Server,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    most_bytes: int = MAX_ANSWER_BYTES,
    limit_s: float = ANSWER_S,
) -> Mapping[str, Any]:
    """Return a call's answer, a JSON object of at most `most_bytes` that comes within `limit_s`. Blocks.

    Raises:
        RefusedError: the server refuses, with its own code and text.
        LinkLostError: the server cannot be reached, or its answer is not a JSON object.
    """
    data = None if body is None else orjson.dumps(body)
    headers = {"X-API-Key": server.key, "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, data=data, headers=headers, method=method)
    return answer_to(server, request, limit_s, most_bytes)


def answer_to(
    server: Server, request: urllib.request.Request, limit_s: float, most_bytes: int = MAX_ANSWER_BYTES
) -> Mapping[str, Any]:
    """Make a request that has its key; return the answer as `call` does, with the same errors. Blocks."""
    try:
        with opener(server).open(request, timeout=limit_s) as answer:
            found = orjson.loads(answer.read(most_bytes))
    except urllib.error.HTTPError as error:
        raise _refusal(error) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise LinkLostError(f"{server.url}: {getattr(reason, 'strerror', None) or reason}") from error
    if not isinstance(found, dict):
        raise LinkLostError(f"the answer of {server.url} is not a JSON object")
    return found


def opener(server: Server) -> urllib.request.OpenerDirector:
    """Return an opener for addresses of this server. It uses no proxy, since the key is for the server only."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    context = server.ssl_context()
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)


def _refusal(error: urllib.error.HTTPError) -> Exception:
    """Return the server's own refusal if the answer has one."""
    try:
        with error:
            error_body = orjson.loads(error.read(MAX_ANSWER_BYTES))["error"]
            return RefusedError(str(error_body["code"]), str(error_body["message"]))
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return LinkLostError(f"the server answered {error.code}")


def fetch_sessions(server: Server, limit: int) -> list[Mapping[str, Any]]:
    """Return the server's newest sessions. Blocks. Raises RefusedError, LinkLostError."""
    sessions = call(server, "GET", f"/api/sessions?limit={limit}").get("sessions")
    if not isinstance(sessions, list):
        raise LinkLostError(f"the answer of {server.url} is not a list of sessions")
    return [session for session in sessions if isinstance(session, dict)]


def session_table(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return sessions as lines of aligned columns; with a column for the machine if several share the list."""
    rows = [[session.get(name) for name in FIELDS] for session in sessions]
    return table(*with_machines(HEADINGS, rows, sessions))
