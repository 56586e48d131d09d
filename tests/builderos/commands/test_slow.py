"""Why a device is behind, as `builderos doctor --slow` says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builderos.slow_checks import explain
from tests.builderos.terminal import run_command
from tests.support.server import open_server


def device(**fields: Any) -> dict[str, Any]:
    quick = {"count": 9, "p50_ms": 1.0, "p95_ms": 2.0}
    known = {"device_id": "ipad", "name": "iPad", "connections": 1, "reconnects": 0, "behind": 0}
    return {**known, "waiting_bytes": 0, "joined": 3, "written": quick, "painted": quick, **fields}


def slow(ms: float) -> dict[str, float]:
    return {"count": 9, "p50_ms": 1.0, "p95_ms": ms}


@pytest.mark.parametrize(
    ("fields", "fix"),
    [
        ({}, ""),
        ({"connections": 0}, "not connected"),
        ({"waiting_bytes": 1_000_000, "written": slow(9000)}, "takes less than comes"),
        ({"written": slow(400)}, "gets its events late"),
        ({"painted": slow(900)}, "shows late what was written in time"),
        ({"painted": None, "written": None}, ""),
        ({"reconnects": 50}, "breaks often"),
    ],
)
def test_a_device_has_a_reason(fields: dict[str, Any], fix: str) -> None:
    _, found = explain({"committed": slow(2), "devices": [device(**fields)]}, 0.5)
    assert found.about == "device ipad"
    assert fix in found.fix
    assert found.state == ("note" if fix else "ok")


def test_the_server_and_the_slowest_device_come_first() -> None:
    devices = [device(device_id="mac"), device(device_id="ipad", painted=slow(900))]
    lines = [str(one) for one in explain({"committed": slow(80), "devices": devices}, None)]
    assert lines[0].startswith("note   server: 95 % of commits within 80 ms → see whether its disk")
    assert [line.split()[2] for line in lines[1:]] == ["ipad:", "mac:"]
    busy = next(iter(explain({"committed": slow(2), "devices": []}, 3.0)))
    assert "processors are busy" in busy.fix


async def test_it_asks_the_server_of_the_data_folder(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        async with server.device() as ipad:
            await ipad.attach("trip", agent="echo", device_id="ipad")
            await ipad.ask("trip", "hello")
            status, shown, trouble = await run_command(server, "doctor", "--slow")
            assert (status, trouble) == (0, "")
            assert "device ipad: " in shown
            assert "1 connected, 0 reconnects; written within " in shown
        await server.terminate()
        assert (await run_command(server, "doctor", "--slow"))[0] == 1
