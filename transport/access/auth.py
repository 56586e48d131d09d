"""Decides what a key may do. An action that is missing from the tables here is refused to every key."""

from __future__ import annotations

from typing import Final

from transport.ports import SCOPES, Scope

__all__ = ["CREATE_SESSION", "DECIDE_MORE", "FRAME_SCOPES", "HTTP_SCOPES", "OBSERVER_FRAMES", "authorize"]

_RANKS: Final[dict[str, int]] = {scope: rank for rank, scope in enumerate(SCOPES)}

CREATE_SESSION: Final = "attach a new session"
"""The action of an `attach` that creates its session."""

DECIDE_MORE: Final = "decide with a mode, a changed input or a folder's trust"
"""The action of a `decide` that does more than allow or deny one call."""

FRAME_SCOPES: Final[dict[str, Scope]] = {
    "auth": "view",
    "attach": "view",
    CREATE_SESSION: "drive",
    "send": "drive",
    "send_now": "drive",
    "cancel": "drive",
    "interrupt": "drive",
    "decide": "approve",
    DECIDE_MORE: "drive",
    "configure": "drive",
    "revoke_grant": "approve",
    "renew": "drive",
    "take_over": "drive",
    "stop_task": "drive",
    "organize": "drive",
    "warm": "drive",
    "painted": "view",
    "focus": "view",
    "resolve": "drive",
    "rename": "drive",
    "undo": "drive",
    "mark_read": "approve",
    "draft": "drive",
    "detach": "view",
    "watch_sessions": "view",
    "ping": "view",
}
"""The scope that each frame of a device needs. `decide` also brings text to the agent: a denial's `note`, and the
`answers` to a question. The contract allows both for `approve`."""

OBSERVER_FRAMES: Final = frozenset({"auth", "attach", "detach", "watch_sessions", "ping", "painted", "focus"})
"""The frames that a device may send for a session that it only observes."""

HTTP_SCOPES: Final[dict[str, Scope]] = {
    "GET /api/status": "view",
    "GET /api/nodes": "view",
    "GET /api/sessions": "view",
    "GET /api/sessions/{id}/messages": "view",
    "GET /api/sessions/{id}/events": "view",
    "GET /api/sessions/{id}/tasks": "view",
    "GET /api/sessions/{id}/export": "view",
    "DELETE /api/{agent}/session/{id}/close": "drive",
    "DELETE /api/sessions/{id}": "admin",
    "POST /api/sessions/{id}/fork": "drive",
    "POST /api/sessions/{id}/move": "admin",
    "POST /api/files/upload": "drive",
    "GET /uploads/{name}": "view",
    "GET /uploads/blobs/{session}/{digest}": "view",
    "GET /api/sessions/{id}/changes": "view",
    "GET /api/sessions/{id}/files": "drive",
    "GET /api/sessions/{id}/file": "drive",
    "GET /api/folders": "drive",
    "GET /api/desk/sessions": "drive",
    "POST /api/sessions/{id}/give-back": "drive",
    "POST /api/desk/sessions/{agent}/{native_id}/open": "drive",
    "GET /api/search": "view",
    "GET /api/capsules": "view",
    "POST /api/notifications/register": "view",
    "GET /api/notifications": "view",
    "GET /api/notifications?all=1": "admin",
    "POST /api/notifications/{id}": "view",
    "DELETE /api/notifications/{id}": "view",
    "POST /api/notifications/{id}/test": "view",
    "POST /api/notifications/seen": "view",
    "GET /api/notifications/why": "view",
    "POST /api/sessions/{id}/requests/{request_id}": "approve",
    "POST /api/desk/hook": "admin",
    "POST /api/system/sleep": "admin",
    "GET /api/devices": "admin",
    "POST /api/devices": "admin",
    "POST /api/devices/pair": "admin",
    "DELETE /api/devices/{id}": "admin",
    "GET /metrics": "view",
    "GET /api/delays": "admin",
    "GET /api/openapi.json": "view",
}
"""The scope that each HTTP call needs. `/api/health` needs no key and never asks. A signed address opens its file
without a key."""


def authorize(scope: str, action: str) -> bool:
    """Return whether a key of `scope` may do `action`: a frame's type, `CREATE_SESSION` or an HTTP call."""
    needed = FRAME_SCOPES.get(action) or HTTP_SCOPES.get(action)
    return needed is not None and _RANKS.get(scope, -1) >= _RANKS[needed]
