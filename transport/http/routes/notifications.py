"""`POST /api/notifications/register`: stores a device's push token."""

from __future__ import annotations

from typing import Final

import attrs
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Clock
from storage.aliases import Aliases
from storage.tables.notifications import Notifications, Registration
from transport.http.requests import read_json
from transport.http.responses import JsonAnswer
from transport.ports import Device

__all__ = ["NotificationRoutes"]

MAX_TOKEN: Final = 512
MAX_PLATFORM: Final = 32
MAX_DEVICE: Final = 128


@attrs.frozen
class NotificationRoutes:
    """The route of notifications."""

    notifications: Notifications
    clock: Clock
    aliases: Aliases

    async def register(self, request: Request, device: Device) -> Response:
        """Store a device's push token."""
        body = await read_json(request)
        registration = Registration(
            device_token=body.text("device_token", MAX_TOKEN),
            platform=body.text("platform", MAX_PLATFORM, "ios"),
            device_id=self.aliases.device(body.text("device_id", MAX_DEVICE)),
            owner=device.id,
            registered_at_ms=self.clock(),
        )
        await self.notifications.register(registration)
        return JsonAnswer({"success": True, "message": "The device is registered."})
