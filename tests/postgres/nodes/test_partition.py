"""A node that is cut off from the database: it vouches for nothing that it cannot know, and opens to nobody."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
import trio

from tests.e2e.shared_server import open_http
from tests.postgres.nodes.pair import open_pair
from tests.postgres.nodes.wire import Wire, open_wire
from tests.support.device import open_device

HEARTBEAT = "heartbeat_s = 0.3\n"


@pytest.mark.parametrize("how", [Wire.cut, Wire.hang], ids=["the wire is cut", "the database hangs"])
async def test_a_node_that_is_cut_off_says_so_and_lets_nobody_in(
    url: str, how: Callable[[Wire], None]
) -> None:
    async with (
        open_wire(url) as wire,
        open_pair(url, config=HEARTBEAT, url_of_b=wire.url) as nodes,
        wire.restored(),
        open_http(nodes.a) as at_a,
        nodes.a.device() as here,
        nodes.b.device() as there,
    ):
        made = (await at_a.post("/api/devices", json={"name": "phone", "scope": "drive"})).json()
        await here.attach("trip", agent="echo")
        await there.attach("trip")
        headers = {"X-API-Key": made["key"]}
        async with httpx.AsyncClient(base_url=nodes.b.url, headers=headers, timeout=20) as phone:
            with trio.fail_after(5):
                while (await phone.get("/api/sessions")).status_code != 200:
                    pass
            async with open_device(nodes.b.url, made["key"]) as lost:
                await lost.attach("trip")
                await there.wait_for(lambda one: "trip" in one.get("sessions", ()), type="heartbeat")
                await here.send("trip", "/words 400 10")
                await there.wait_for("message", start=0)
                how(wire)
                assert (await at_a.delete(f"/api/devices/{made['id']}")).status_code == 200
                # Within the second it may still be let in, but nothing is read for it.
                with trio.move_on_after(1.2):
                    assert (await phone.get("/api/sessions")).status_code != 200
                assert (await phone.get("/api/sessions")).status_code == 503
                async with open_http(nodes.b) as at_b:
                    assert (await at_b.get("/api/status")).status_code == 503
                await there.wait_for("error", start=0, code="storage", session_id="trip", limit_s=10)
                beat = await there.wait_for("heartbeat", start=len(there.frames))
                assert beat["sessions"] == {}
                refused = await there.send("trip", "anybody?")
                assert (refused["type"], refused["code"]) == ("rejected", "storage")
                assert lost.close_code is None
                await here.wait_for("complete", start=0)
                wire.restore()
                assert await lost.wait_closed(limit_s=10) == 4401
            assert (await phone.get("/api/sessions")).status_code == 401
        end = await there.wait_for("complete", start=0)
        whole = "".join(f"w{i} " for i in range(400))
        assert there.text("trip", end["turn_id"]) == here.text("trip", end["turn_id"]) == whole
        beat = await there.wait_for(lambda one: "trip" in one.get("sessions", ()), start=len(there.frames))
        assert beat["sessions"]["trip"]["head_seq"] == end["seq"]
        assert (await there.ask("trip", "again"))["type"] == "complete"
