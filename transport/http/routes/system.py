"""`POST /api/system/sleep`: the machine goes to sleep, where its owner said how."""

from __future__ import annotations

import attrs
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Clock
from transport.facilities import Facilities
from transport.http.responses import HttpError, JsonAnswer
from transport.http.routes.devices import act_of
from transport.ports import Device

__all__ = ["SystemRoutes"]


@attrs.define(eq=False)
class SystemRoutes:
    """See the module."""

    facilities: Facilities
    clock: Clock
    _running: bool = False

    async def sleep(self, request: Request, by: Device) -> Response:
        """Run the command that the config names."""
        sleep = self.facilities.sleep
        if sleep is None:
            raise HttpError(403, "not_configured", "The config names no system.sleep_command.")
        if self._running:
            raise HttpError(429, "too_many", "The command runs already.")
        self._running = True
        try:
            worked = await sleep()
        finally:
            self._running = False
        if not worked:
            raise HttpError(503, "failed", "The command failed; the server's log tells more.")
        await self.facilities.audit.note(act_of(request, by, "slept", self.clock()))
        return JsonAnswer({"ok": True, "message": "The machine goes to sleep."})
