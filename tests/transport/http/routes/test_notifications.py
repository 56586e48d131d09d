"""Registrations for notifications."""

from __future__ import annotations

from pathlib import Path

from storage.tables.notifications.alerts import Raise
from tests.storage.stores import NOW_MS
from tests.transport.http.calls import World, open_world


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


async def raise_alerts(world: World, count: int) -> None:
    alerts = world.services.notifier.tables.alerts
    await alerts.begin("0")
    made = [
        Raise(
            alert_id=f"alert-{number}",
            session_id="trip",
            seq=number,
            kind="finished",
            subject=f"turn-{number}",
            author=None,
            raised_at_ms=NOW_MS + number // 2,  # so that some have the same time
            due_at_ms=NOW_MS,
        )
        for number in range(count)
    ]
    assert await alerts.plan("0", "1", made) == []


async def test_the_alerts_come_page_by_page(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await raise_alerts(world, 5)
        found: list[str] = []
        params = {"session_id": "trip", "limit": "2"}
        while True:
            page = (await world.http.get("/api/notifications/why", params=params)).json()
            found += [one["alert_id"] for one in page["alerts"]]
            if page["next_before"] is None:
                break
            params["before"] = page["next_before"]
        assert found == ["alert-4", "alert-3", "alert-2", "alert-1", "alert-0"]
