"""`GET /metrics`: what the server counts, for Prometheus."""

from __future__ import annotations

import attrs
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Catalog
from transport.facilities import Facilities, Port
from transport.metrics import CONTENT_TYPE, family
from transport.ports import Device

__all__ = ["MetricsRoutes"]


@attrs.frozen
class MetricsRoutes:
    """See the module."""

    facilities: Facilities
    port: Port
    catalog: Catalog

    async def text(self, _: Request, __: Device) -> Response:
        """Tell all of it."""
        lines = [
            *family(
                "gauge", "builderos_connections", "Connections now, by kind.", self.port.gauges(), "kind"
            ),
            *family(
                "gauge", "builderos_websockets", "WebSockets on the old paths.", self.port.counts(), "agent"
            ),
            *family("gauge", "builderos_sessions", "Sessions kept.", await self.catalog.count()),
            *self.facilities.more_metrics(),
            *self.facilities.metrics.lines(),
        ]
        return Response("\n".join(lines) + "\n", media_type=CONTENT_TYPE)
