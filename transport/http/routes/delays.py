"""`/metrics`, and `/api/delays`: how long what is committed takes to each device, as figures and for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Catalog
from transport.delays import DeviceDelays
from transport.http.responses import JsonAnswer
from transport.http.services import HttpServices, Port
from transport.metrics import CONTENT_TYPE, Distribution, Figure, as_text, share_of
from transport.ports import Device

__all__ = ["DelayRoutes", "delay_figures"]


@attrs.frozen
class DelayRoutes:
    """The routes of figures."""

    services: HttpServices
    port: Port
    catalog: Catalog
    delays: DeviceDelays

    async def metrics(self, _: Request, __: Device) -> Response:
        """Return all metrics, as text for Prometheus."""
        gauges, counts = self.port.gauges(), self.port.counts()
        figures = [
            Figure("gauge", "builderos_connections", "Connections now, by kind.", gauges, "kind"),
            Figure("gauge", "builderos_websockets", "WebSockets on the old paths.", counts, "agent"),
            Figure("gauge", "builderos_sessions", "Sessions kept.", await self.catalog.count()),
            *self.services.more_figures(),
            *self.services.metrics.figures(),
            *delay_figures(self.delays),
        ]
        return Response(await trio.to_thread.run_sync(as_text, figures), media_type=CONTENT_TYPE)

    async def listing(self, _: Request, __: Device) -> Response:
        """Return the delays of all devices that have a record, the one that attached last first."""
        await trio.lowlevel.checkpoint()
        lags = self.services.lags()
        devices = [
            {
                "device_id": one.label,
                "key": one.key_id,
                "name": one.name,
                "connections": len(one.connections),
                "reconnects": one.reconnects,
                "behind": lags.get(one.label, 0),
                "waiting_bytes": one.waiting_bytes,
                "joined": one.joined,
                "written": _recent(one.write_s.recent),
                "painted": _recent(one.paint_s.recent),
            }
            for one in self.delays
        ]
        return JsonAnswer(
            {"committed": _recent(self.services.metrics.append_s.recent), "devices": devices[::-1]}
        )


def _recent(seconds: Collection[float]) -> Mapping[str, Any] | None:
    """Return what a list shows of the newest durations; None if there are none."""
    if not seconds:
        return None
    p50_ms, p95_ms = (round(1000 * share_of(seconds, share), 3) for share in (0.5, 0.95))
    return {"count": len(seconds), "p50_ms": p50_ms, "p95_ms": p95_ms}


def delay_figures(delays: DeviceDelays) -> list[Figure | Distribution]:
    """Return the figures of all devices as they are now."""
    written = {one.label: one.write_s.state() for one in delays}
    painted = {one.label: one.paint_s.state() for one in delays if one.paint_s.recent}
    reconnects: dict[str, float] = {one.label: one.reconnects for one in delays}
    joined: dict[str, float] = {one.label: one.joined for one in delays}
    waiting: dict[str, float] = {one.label: one.waiting_bytes for one in delays}
    return [
        Distribution(
            "builderos_device_write_seconds",
            "From a commit until the device's socket took it.",
            written,
            "device",
        ),
        Distribution(
            "builderos_device_paint_seconds",
            "From an event's time until the device showed it, as it reports.",
            painted,
            "device",
        ),
        Figure("gauge", "builderos_device_waiting_bytes", "Bytes that wait for a device.", waiting, "device"),
        Figure(
            "counter",
            "builderos_device_joined_pieces_total",
            "Pieces in the frame of an earlier one.",
            joined,
            "device",
        ),
        Figure(
            "counter",
            "builderos_device_reconnects_total",
            "Connections after a device's first.",
            reconnects,
            "device",
        ),
    ]
