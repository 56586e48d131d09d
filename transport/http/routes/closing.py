"""`DELETE /api/{claude|codex}/session/{id}/close`: a device is done with a session for now."""

from __future__ import annotations

import logging
from typing import Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors.commands import Author, Close, Closed, Envelope, Reply
from actors.errors import ActorError
from storage.errors import StorageError
from transport.config import TransportConfig
from transport.http.responses import HttpError, JsonAnswer
from transport.ports import Deps, Device
from transport.v3.decode import is_id

__all__ = ["ClosingRoutes"]

_OLD_AGENTS: Final = frozenset({"claude", "codex"})

logger = logging.getLogger("builderos.transport")


@attrs.frozen
class ClosingRoutes:
    """See the module."""

    config: TransportConfig
    deps: Deps

    async def close(self, request: Request, device: Device) -> Response:
        """Close a session's hub where nobody needs it. 200 for every session, there or not."""
        if request.path_params["agent"] not in _OLD_AGENTS:
            raise HttpError(404, "not_found", "Not found.")
        session_id = request.path_params["id"]
        killed = await self._close(session_id, device) if is_id(session_id) else False
        message = "The session's process was ended." if killed else "Nothing had to be ended."
        return JsonAnswer(
            {"ok": True, "session_id": session_id, "process_killed": killed, "message": message}
        )

    async def _close(self, session_id: str, device: Device) -> bool:
        answered = trio.Event()
        replies: list[Reply] = []

        def reply(answer: Reply) -> None:
            replies.append(answer)
            answered.set()

        author = Author(device.id, device.id, device.name)
        try:
            if await self.deps.catalog.get(session_id) is None:
                return False
            with trio.move_on_after(self.config.submit_s):
                await self.deps.bus.submit(session_id, Envelope(Close(), author, reply))
                await answered.wait()
        except (ActorError, StorageError) as error:
            logger.info("session %s could not be closed: %s", session_id, error)
        return any(isinstance(answer, Closed) and answer.process_killed for answer in replies)
