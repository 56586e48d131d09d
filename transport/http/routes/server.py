"""How the server is: health, for anybody, and status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from transport.auth import authorize
from transport.config import TransportConfig
from transport.facilities import Readiness
from transport.http.responses import JsonAnswer
from transport.ports import Deps, Device
from transport.v3.events import timestamp

__all__ = ["ServerRoutes"]


@attrs.frozen
class ServerRoutes:
    """`/api/health` and `/api/status`."""

    config: TransportConfig
    deps: Deps
    counts: Callable[[], dict[str, int]]
    looking: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

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

    async def status(self, _: Request, device: Device) -> Response:
        """Tell what the server can do, and what agents lack before they can answer."""
        body: dict[str, Any] = {
            "status": "running",
            "version": self.config.version,
            "health": "ok",
            "timestamp": timestamp(self.deps.clock()),
            "features": dict(self.config.features),
        }
        facilities = self.deps.facilities
        if facilities is not None and facilities.readiness is not None:
            found = await trio.to_thread.run_sync(facilities.readiness, limiter=self.looking)
            body |= _readiness(found, tells_paths=authorize(device.scope, "send"))
        return JsonAnswer(body)


def _readiness(found: Readiness, *, tells_paths: bool) -> dict[str, Any]:
    """Return the part of the status. Paths of the machine are for those who may send."""
    agents = [
        {
            "name": agent.name,
            "kind": agent.kind,
            "ready": not agent.problem,
            "problem": (agent.problem or None) if tells_paths else None,
            "mend": (agent.mend or None) if tells_paths else None,
        }
        for agent in found.agents
    ]
    path = str(found.workspace) if tells_paths else None
    return {"agents": agents, "workspace": {"path": path, "ok": found.workspace_ok}}
