"""`GET /api/openapi.json`: the HTTP interface, described for programs."""

from __future__ import annotations

import attrs
from starlette.requests import Request
from starlette.responses import Response

from transport.http.openapi import describe
from transport.http.responses import JsonAnswer
from transport.ports import Device

__all__ = ["OpenApiRoutes"]


@attrs.frozen
class OpenApiRoutes:
    """See the module."""

    version: str

    async def description(self, _: Request, __: Device) -> Response:
        """Give the description."""
        return JsonAnswer(describe(self.version))
