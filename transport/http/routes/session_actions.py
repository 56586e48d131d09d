"""Actions on a whole session: close, delete, fork, move, export."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.commands import Author, Close
from actors.errors import ActorError, NodeCallRefused, SessionBusy, UnknownNode
from actors.fork import TurnRuns, UnknownTurn
from actors.ports import Catalog, Clock, Ids
from actors.replies import Closed
from storage.errors import SessionExists, SessionMissing, StorageError
from storage.tables.audit import Audit
from transport.config import TransportConfig
from transport.http.requests import read_json
from transport.http.responses import HttpError, JsonAnswer, choice_of
from transport.http.routes.devices import act_of
from transport.http.services import Exports, Forks, Moves
from transport.ports import Deps, Device
from transport.sessions import ask
from transport.v3.commands import MAX_TITLE
from transport.v3.decode import is_id
from transport.workspace.removal import SessionRemoval, WorktreeKept

__all__ = ["close_session", "delete_session", "export_session", "fork_session", "move_session"]

_OLD_AGENTS: Final = frozenset({"claude", "codex"})

logger = logging.getLogger("builderos.transport")


async def close_session(config: TransportConfig, deps: Deps, request: Request, device: Device) -> Response:
    """Close a session's hub if nobody needs it. Returns 200 for every session, whether it exists or not."""
    if request.path_params["agent"] not in _OLD_AGENTS:
        raise HttpError(404, "not_found", "Not found.")
    session_id = request.path_params["id"]
    killed = await _close(config, deps, session_id, device) if is_id(session_id) else False
    message = "The session's process was stopped." if killed else "No process was stopped."
    return JsonAnswer({"ok": True, "session_id": session_id, "process_killed": killed, "message": message})


async def _close(config: TransportConfig, deps: Deps, session_id: str, device: Device) -> bool:
    author, limit_s = Author(device.id, device.id, device.name), config.submit_s
    try:
        if await deps.catalog.get(session_id) is None:
            return False
        answer = await ask(deps.bus, session_id, Close(), author, limit_s=limit_s)
    except (ActorError, StorageError) as error:
        logger.info("session %s: cannot be closed: %s", session_id, error)
        return False
    return isinstance(answer, Closed) and answer.process_killed


async def delete_session(
    sessions: SessionRemoval, audit: Audit, clock: Clock, request: Request, by: Device
) -> Response:
    """Delete a session that has no running turn and no waiting message."""
    session_id = request.path_params["id"]
    if not is_id(session_id):
        raise SessionMissing(session_id)
    force = choice_of(request, "force", "true", "false") == "true"
    try:
        await sessions.remove(session_id, force=force)
    except SessionBusy:
        raise HttpError(409, "busy", "A turn runs or a message waits; interrupt it first.") from None
    except WorktreeKept as kept:
        raise HttpError(409, kept.code, str(kept)) from None
    act = act_of(request, by, "session_deleted", clock())
    act = attrs.evolve(act, session_id=session_id, subject="forced" if force else act.subject)
    await audit.note(act)
    return JsonAnswer({"ok": True, "session_id": session_id})


async def fork_session(forks: Forks, make_id: Ids, request: Request, by: Device) -> Response:
    """Create a session with the history of another one, up to a turn."""
    session_id = request.path_params["id"]
    if not is_id(session_id):
        raise SessionMissing(session_id)
    body = await read_json(request)
    new_id, title = body.text("session_id", 128, default=make_id()), None
    if body.has("title"):
        title = body.text("title", MAX_TITLE)
    after_turn = body.text("after_turn", 256) if body.has("after_turn") else None
    if not is_id(new_id):
        raise HttpError(400, "bad_request", "session_id is not a valid id.")
    try:
        await forks.fork(session_id, after_turn, new_id=new_id, device_id=by.id, title=title)
    except UnknownTurn:
        raise HttpError(404, "unknown_turn", "The session has no such turn.") from None
    except TurnRuns:
        raise HttpError(409, "busy", "That turn is running. Wait for its end.") from None
    except SessionExists:
        raise HttpError(409, "exists", "There is another session with that session_id.") from None
    return JsonAnswer({"session_id": new_id}, 201)


async def move_session(
    moves: Moves | None, deps: Deps, audit: Audit, request: Request, by: Device
) -> Response:
    """Move a session to another machine, unless it is there already. `moves`: None if there are no others."""
    session_id = request.path_params["id"]
    if not is_id(session_id) or await deps.catalog.get(session_id) is None:
        raise SessionMissing(session_id)
    body = await read_json(request)
    node = body.text("node", 64)
    force = body.flag("force") if body.has("force") else False
    try:
        if deps.nodes is None or moves is None:
            raise UnknownNode(node)
        moved = await moves.move(session_id, node, force=force, by=by.id)
    except UnknownNode as unknown:
        raise HttpError(404, "unknown_node", f"node: {unknown}") from None
    except NodeCallRefused as refused:
        raise HttpError(_MOVE_STATUS.get(refused.code, 503), refused.code, str(refused)) from None
    if moved:
        act = act_of(request, by, "session_moved", deps.clock())
        subject = f"{node} forced" if force else node
        await audit.note(attrs.evolve(act, session_id=session_id, subject=subject))
    machine = deps.nodes.machine(node)
    return JsonAnswer({"ok": True, "session_id": session_id, "moved": moved, "machine": machine})


_MOVE_STATUS: Final = {
    "bad_workspace": 409,
    "busy": 409,
    "bypass_disabled": 409,
    "forbidden": 403,
    "not_found": 404,
    "open_elsewhere": 409,
    "unknown_agent": 409,
}
"""Status of a refused move; any other is 503: `machine_away`, say."""

CHUNK_BYTES: Final = 64 * 1024
"""Small parts are joined up to this before they are sent."""

_TYPES: Final[dict[str, str]] = {"md": "text/markdown; charset=utf-8", "json": "application/json"}

_WriteAll = Callable[[Callable[[str], Awaitable[None]]], Awaitable[None]]


async def export_session(exports: Exports, catalog: Catalog, request: Request, _: Device) -> Response:
    """Return a session as a file. Once it has begun, an error can only cut it off."""
    form: Literal["md", "json"] = "json" if choice_of(request, "format", "md", "json") == "json" else "md"
    session_id = request.path_params["id"]
    if not is_id(session_id) or await catalog.get(session_id) is None:
        raise HttpError(404, "not_found", "There is no such session.")
    headers = {
        "Content-Type": _TYPES[form],
        "Content-Disposition": f'attachment; filename="{session_id}.{form}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return _Streamed(partial(exports, session_id, form), headers=headers)


class _Streamed(Response):
    """A body that is written piece by piece; its length is unknown."""

    def __init__(self, write_all: _WriteAll, *, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._write_all = write_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[str] = []
        size = 0

        async def write(text: str) -> None:
            nonlocal size
            held.append(text)
            size += len(text)
            if size >= CHUNK_BYTES:
                await flush(more=True)

        async def flush(*, more: bool) -> None:
            nonlocal size
            body = "".join(held).encode()
            held.clear()
            size = 0
            await send({"type": "http.response.body", "body": body, "more_body": more})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            await self._write_all(write)
        await flush(more=False)
