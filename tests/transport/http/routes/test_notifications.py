"""Registrations for notifications."""

from __future__ import annotations

from pathlib import Path

from tests.transport.http.calls import open_world


async def test_registrations_are_kept(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        devices = world.services.devices
        await devices.add(name="p", scope="view", key="k", device_id="phone", now_ms=1)
        body = {"device_token": "ab12", "platform": "ios", "device_id": "D-1", "more": 1}
        answer = await world.http.post("/api/notifications/register", json=body)
        assert answer.status_code == 200
        assert answer.json()["success"] is True
        (kept,) = await world.services.notifier.tables.channels.listing()
        assert (kept.address, kept.kind, kept.label) == ("ab12", "apns", "D-1")
        assert kept.owner == "phone"
