"""`GET /api/sessions/{id}/export`: a whole session as a file, written as it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.ports import Catalog
from transport.facilities import Exports
from transport.http.responses import HttpError
from transport.ports import Device
from transport.v3.decode import is_id

__all__ = ["ExportRoutes"]

CHUNK_BYTES: Final = 64 * 1024
"""Small parts are joined up to this before they are sent."""

_TYPES: Final[dict[str, str]] = {"md": "text/markdown; charset=utf-8", "json": "application/json"}

_WriteAll = Callable[[Callable[[str], Awaitable[None]]], Awaitable[None]]


@attrs.frozen
class ExportRoutes:
    """See the module."""

    exports: Exports | None
    catalog: Catalog

    async def export(self, request: Request, device: Device) -> Response:
        """Give a session out. Once it has begun, an error can only break it off."""
        if self.exports is None:
            raise HttpError(404, "not_found", "Sessions are not exported here.")
        form = _form(request.query_params.get("format", "md"))
        session_id = request.path_params["id"]
        if not is_id(session_id) or await self.catalog.get(session_id) is None:
            raise HttpError(404, "not_found", "There is no such session.")
        headers = {
            "Content-Type": _TYPES[form],
            "Content-Disposition": f'attachment; filename="{session_id}.{form}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return _Streamed(partial(self.exports, session_id, form, device.scope), headers=headers)


def _form(told: str) -> Literal["md", "json"]:
    if told == "md":
        return "md"
    if told == "json":
        return "json"
    raise HttpError(400, "bad_request", "format must be md or json.")


class _Streamed(Response):
    """A body that is written piece by piece; its length is not known."""

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
