"""A server whose wall clock jumps by days keeps every promise: no promise is made by the time of day."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.shared_server import all_events, open_http, wait_processes_gone
from tests.support.device import Json
from tests.support.invariants import committed_of, journal_problems, view_problems
from tests.support.server import open_server
from tests.torture.town import Town


async def test_jumps(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("t")
    module, environment = "tests.torture.jumping_server", {"JUMPS": "1"}
    async with open_server(folder, module=module, environment=environment) as server:
        seen: list[Json] = []
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            for words in ("hello", "/words 200 0", "/task dig"):
                assert (await device.ask("trip", words))["type"] == "complete"
            await device.send("trip", "/ask may I")
            asked = await device.wait_for("permission_requested")
            await server.kill9()
            await device.wait_closed()
            seen += device.events("trip")
        await server.restart()
        async with server.device() as device:
            attached = await device.attach("trip", after={"epoch": 1, "seq": seen[-1]["seq"]})
            assert attached["replay"] == "ok"
            await device.say("decide", session_id="trip", request_id=asked["request_id"], decision="allow")
            await device.wait_for("complete")
            hub = Town.of(server, folder).hub_of("trip")
            assert hub is not None
            hub.kill()
            await wait_processes_gone([hub])
            end = await device.ask("trip", "/turns")
            assert device.text("trip", end["turn_id"]) == "turns=5"
            seen += device.events("trip")
        async with open_http(server) as http:
            journal = [committed_of(frame) for frame in await all_events(http, "trip")]
            listed = (await http.get("/api/sessions")).json()["sessions"]
        assert [one["session_id"] for one in listed] == ["trip"]
        assert journal_problems(journal) == []
        assert view_problems("device", journal, [committed_of(frame) for frame in seen]) == []
        times = [item.at_ms for item in journal]
        assert times != sorted(times), "the clock did jump"


def test_nothing_of_the_server_knows_of_it(tmp_path: Path) -> None:
    """The wiring is the tests' own: no switch of the server leads there."""
    root = Path(__file__).resolve().parent.parent.parent
    for folder in ("builderos", "transport", "actors", "storage", "bridgehub"):
        for path in (root / folder).rglob("*.py"):
            assert "JUMPS" not in path.read_text(), path
