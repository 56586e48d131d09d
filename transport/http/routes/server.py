"""The server itself: health, status, the OpenAPI description, and the machine's sleep."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Clock
from storage.errors import StorageError
from transport.access.auth import authorize
from transport.config import TransportConfig
from transport.http.responses import HttpError, JsonAnswer
from transport.http.routes.devices import act_of
from transport.http.services import AgentState, HttpServices, Readiness
from transport.ports import Deps, Device
from transport.v3.events import timestamp

__all__ = ["ServerRoutes", "SystemRoutes", "description"]


STORAGE_S: Final = 5.0
"""How long storage may take to say that it can be written."""


@attrs.frozen
class ServerRoutes:
    """`/api/health` and `/api/status`."""

    config: TransportConfig
    deps: Deps
    counts: Callable[[], dict[str, int]]
    looking: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    async def health(self, _: Request) -> Response:
        """Report that the server is up, without a key. Starts nothing."""
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
        """Return the server's features, and what agents lack before they can answer."""
        body: dict[str, Any] = {
            "status": "running",
            "version": self.config.version,
            "health": await self._health(),
            "timestamp": timestamp(self.deps.clock()),
            "features": dict(self.config.features),
        }
        services = self.deps.services
        if services is not None:
            found = await trio.to_thread.run_sync(services.readiness, limiter=self.looking)
            body |= _readiness(found, tells_paths=authorize(device.scope, "send"))
        return JsonAnswer(body)

    async def nodes(self, _: Request, __: Device) -> Response:
        """Return the machines that share the sessions; none if this server has them for itself."""
        await trio.lowlevel.checkpoint()
        return JsonAnswer({"nodes": [] if self.deps.nodes is None else await self.deps.nodes.listing()})

    async def _health(self) -> str:
        """Return `ok`, or `storage` while nothing can be stored: the disk is full, say."""
        with trio.move_on_after(STORAGE_S):  # noqa: ASYNC912 - storage waits
            try:
                await self.deps.journal.check_writable()
            except StorageError:
                return "storage"
            return "ok"
        return "storage"


def _readiness(found: Readiness, *, tells_paths: bool) -> dict[str, Any]:
    """Return the part of the status about agents. Paths of the machine are only for keys that may send."""

    def shown(agent: AgentState) -> dict[str, Any]:
        problem, fix = (agent.problem or None, agent.fix or None) if tells_paths else (None, None)
        # `mend` is the old name of `fix`, and stays for one release.
        facts = {"name": agent.name, "kind": agent.kind, "ready": not agent.problem}
        return facts | {"problem": problem, "fix": fix, "mend": fix}

    agents = [shown(agent) for agent in found.agents]
    path = str(found.workspace) if tells_paths else None
    return {"agents": agents, "workspace": {"path": path, "ok": found.workspace_ok}}


@attrs.define(eq=False)
class SystemRoutes:
    """The route of the machine's sleep."""

    services: HttpServices
    clock: Clock
    _running: bool = False

    async def sleep(self, request: Request, by: Device) -> Response:
        """Run the configured command."""
        sleep = self.services.sleep
        if sleep is None:
            raise HttpError(403, "not_configured", "The config names no system.sleep_command.")
        if self._running:
            raise HttpError(429, "too_many", "The command is already running.")
        self._running = True
        try:
            worked = await sleep()
        finally:
            self._running = False
        if not worked:
            raise HttpError(503, "failed", "The command failed. See the server's log.")
        await self.services.audit.note(act_of(request, by, "slept", self.clock()))
        return JsonAnswer({"ok": True, "message": "The machine is going to sleep."})


async def description(version: str, _: Request, __: Device) -> Response:
    """Return the OpenAPI description."""
    await trio.to_thread.run_sync(import_module, "transport.http.openapi.document")  # few ask for it
    from transport.http.openapi.document import describe

    return JsonAnswer(describe(version))
