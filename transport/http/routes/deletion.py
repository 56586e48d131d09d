"""`DELETE /api/sessions/{id}`: a session is gone for good, with its files."""

from __future__ import annotations

import attrs
from starlette.requests import Request
from starlette.responses import Response

from actors.errors import SessionBusy
from actors.ports import Clock
from storage.errors import SessionMissing
from storage.tables.audit import Audit
from transport.facilities import Removes
from transport.http.responses import HttpError, JsonAnswer
from transport.http.routes.devices import act_of
from transport.ports import Device
from transport.v3.decode import is_id

__all__ = ["DeletionRoutes"]


@attrs.frozen
class DeletionRoutes:
    """See the module."""

    sessions: Removes
    audit: Audit
    clock: Clock

    async def delete(self, request: Request, by: Device) -> Response:
        """Remove a session that has nothing to do."""
        session_id = request.path_params["id"]
        if not is_id(session_id):
            raise SessionMissing(session_id)
        try:
            await self.sessions.remove(session_id)
        except SessionBusy:
            raise HttpError(409, "busy", "A turn runs or a message waits; interrupt it first.") from None
        act = attrs.evolve(act_of(request, by, "session_deleted", self.clock()), session_id=session_id)
        await self.audit.note(act)
        return JsonAnswer({"ok": True, "session_id": session_id})
