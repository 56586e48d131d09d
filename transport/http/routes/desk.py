"""The person's own sessions on this computer: their list, and opening one here."""

from __future__ import annotations

from typing import Any, Final

import attrs
from starlette.requests import Request
from starlette.responses import Response

from actors.commands import Author
from actors.desk.opening import desk_session_id
from actors.errors import SessionBusy
from bridgehub.desk.records import MAX_MESSAGES, DeskSession, NoSuchSession, Where
from storage.errors import SessionMissing
from transport.http.requests import read_json
from transport.http.responses import (
    HttpError,
    JsonAnswer,
    choice_of,
    decode_cursor,
    encode_cursor,
    limit_of,
    query_of,
)
from transport.http.routes.devices import act_of
from transport.http.routes.workspace import folder_of, refuse_elsewhere
from transport.http.services import DeskSessions
from transport.ports import Deps, Device
from transport.v3.decode import is_id
from transport.v3.events import timestamp, told_where

__all__ = ["DeskRoutes"]

LIMIT: Final = 100
MAX_QUERY: Final = 200


@attrs.frozen
class DeskRoutes:
    """The routes of the desk."""

    deps: Deps
    desk: DeskSessions

    async def note_hook(self, request: Request, by: Device) -> Response:
        """Note in the audit that the hook for questions of terminals was installed, or removed."""
        installed = (await read_json(request)).flag("installed")
        act = "desk_installed" if installed else "desk_removed"
        self.deps.trail.note(act_of(request, by, act, self.deps.clock()))
        return JsonAnswer({"ok": True})

    async def listing(self, request: Request, _: Device) -> Response:
        """Return the sessions that the person's own programs keep, newest first."""
        agent, query = query_of(request, "agent", "q")
        workspace = folder_of(request)
        limit, cursor = limit_of(request, LIMIT), decode_cursor(request)
        if query is not None and len(query) > MAX_QUERY:
            raise HttpError(400, "bad_request", f"q must be a text of at most {MAX_QUERY} characters.")
        found = await self.desk.listed(agent, workspace, query)
        later = [one for one in found.sessions if cursor is None or _place(*one[:2]) < cursor]
        page = later[:limit]
        ours = await self.desk.ours([(name, one.native_id) for name, one, _ in page])
        shown = [_entry(name, one, where, ours.get((name, one.native_id))) for name, one, where in page]
        last = encode_cursor(*_place(*page[-1][:2])) if len(later) > limit else None
        return JsonAnswer({"sessions": shown, "unreadable": found.unreadable, "next_before": last})

    async def open(self, request: Request, by: Device) -> Response:
        """Make a conversation of the desk a session here; the same one each time."""
        agent, native_id = request.path_params["agent"], request.path_params["native_id"]
        try:
            session_id, is_new = await self.desk.open(agent, native_id, by.id)
        except NoSuchSession:
            raise HttpError(404, "not_found", "There is no such session on this computer.") from None
        return JsonAnswer({"session_id": session_id}, 201 if is_new else 200)

    async def give_back(self, request: Request, by: Device) -> Response:
        """End a session's hub, or share its program, so that a terminal may continue its conversation."""
        session_id = request.path_params["id"]
        if not is_id(session_id):
            raise SessionMissing(session_id)
        record = await self.deps.catalog.get(session_id)
        if record is None:
            raise SessionMissing(session_id)
        refuse_elsewhere(self.deps, record)
        joins = choice_of(request, "join", "0", "1") == "1"
        here = choice_of(request, "here", "0", "1") == "1"
        if here and (sent_by := request.scope.get("builderos.sent_by")):
            raise HttpError(
                409,
                "other_machine",
                f"The session is on machine {record.owner}, and this terminal uses machine {sent_by}."
                f" Run this on {record.owner}: builderos resume {session_id}",
            )
        try:
            given = await self.desk.give_back(session_id, Author(by.id, by.id, by.name), joins=joins)
        except SessionBusy:
            raise HttpError(409, "busy", "A turn runs. Stop it or wait for its end.") from None
        except NoSuchSession:
            raise HttpError(
                409, "no_conversation", "There is nothing that a terminal could resume."
            ) from None
        return JsonAnswer(attrs.asdict(given))


def _entry(agent: str, one: DeskSession, where: Where | None, session_id: str | None) -> dict[str, Any]:
    return {
        "agent": agent,
        "native_id": one.native_id,
        "title": one.title,
        "workspace": one.workspace,
        "first_message": one.first_message,
        "last_activity": timestamp(one.last_activity_ms),
        "message_count": min(one.message_count, MAX_MESSAGES),
        "where": told_where(where),
        "session_id": session_id,
    }


def _place(agent: str, one: DeskSession) -> tuple[int, str]:
    return one.last_activity_ms, desk_session_id(agent, one.native_id)
