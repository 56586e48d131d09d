"""How the server is: health, for anybody, and status."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from starlette.requests import Request
from starlette.responses import Response

from transport.config import TransportConfig
from transport.events_v3 import timestamp
from transport.http_answers import JsonAnswer
from transport.ports import Deps, Device

__all__ = ["ServerRoutes"]


@attrs.frozen
class ServerRoutes:
    """`/api/health` and `/api/status`."""

    config: TransportConfig
    deps: Deps
    counts: Callable[[], dict[str, int]]

    async def health(self, _: Request) -> Response:
        """Tell whoever asks that the server serves. Starts nothing."""
        body = {
            "status": "ok",
            "version": self.config.version,
            "timestamp": timestamp(self.deps.clock()),
            "connections": self.counts(),
            "sessions": {"total": await self.deps.catalog.count()},
            "bridgehub": {"ready": True},
        }
        return JsonAnswer(body, headers={"Cache-Control": "no-store"})

    async def status(self, _: Request, __: Device) -> Response:
        """Tell what the server can do."""
        body = {
            "status": "running",
            "version": self.config.version,
            "health": "ok",
            "timestamp": timestamp(self.deps.clock()),
            "features": dict(self.config.features),
        }
        return JsonAnswer(body)
