"""Two servers on one database: one list, and every session at every node. Real processes, and nothing that is faked."""

from __future__ import annotations

import signal
from contextlib import AbstractAsyncContextManager

import httpx
import trio

from tests.e2e.shared_server import all_events, hubs_of, open_http, story_of
from tests.postgres.cluster import Cluster
from tests.postgres.nodes.pair import open_pair
from tests.support.device import Device, Json, open_device
from tests.support.server import Server


def machine_of(entry: Json) -> tuple[str, str]:
    return entry["machine"]["id"], entry["machine"]["state"]


async def listed(http: httpx.AsyncClient) -> dict[str, tuple[str, str]]:
    found = (await http.get("/api/sessions")).json()["sessions"]
    return {one["session_id"]: machine_of(one) for one in found}


async def test_a_session_is_seen_and_driven_at_both_nodes(url: str) -> None:
    async with open_pair(url) as nodes, nodes.a.device() as here, nodes.b.device() as there:
        await here.attach("trip", agent="echo", device_id="mac")
        attached = await there.attach("trip", device_id="phone")
        assert {one["device_id"] for one in attached["devices"]} == {"mac", "phone"}
        assert machine_of(attached) == ("a", "there")
        present = await here.wait_for(
            lambda one: one["type"] == "presence" and len(one["devices"]) == 2, start=0
        )
        assert {one["device_id"] for one in present["devices"]} == {"mac", "phone"}

        end = await there.ask("trip", "hello from b")
        assert end["type"] == "complete"
        await here.wait_for("complete", start=0, turn_id=end["turn_id"])
        assert here.text("trip", end["turn_id"]) == there.text("trip", end["turn_id"]) != ""
        kinds = [one["type"] for one in there.frames]
        assert kinds.index("accepted") < kinds.index("user_message")

        end = await there.ask("trip", "/words 20000")
        await here.wait_for("complete", start=0, turn_id=end["turn_id"])
        assert len(there.text("trip", end["turn_id"]).split()) == 20_000
        assert here.text("trip", end["turn_id"]) == there.text("trip", end["turn_id"])
        assert set(hubs_of(nodes.a.data)) == {"trip"}
        assert hubs_of(nodes.b.data) == {}


async def test_there_is_one_list(url: str) -> None:
    async with open_pair(url) as nodes, nodes.a.device() as here, nodes.b.device() as there:
        await there.say("watch_sessions")
        await here.attach("mine", agent="echo")
        await there.attach("yours", agent="echo")
        await here.ask("mine", "hello")
        changed = await there.wait_for("session_changed", start=0, session_id="mine", state="idle")
        assert machine_of(changed) == ("a", "there")
        async with open_http(nodes.a) as at_a, open_http(nodes.b) as at_b:
            assert await listed(at_a) == {"mine": ("a", "here"), "yours": ("b", "there")}
            assert await listed(at_b) == {"mine": ("a", "there"), "yours": ("b", "here")}
            shown = (await at_b.get("/api/nodes")).json()["nodes"]
            assert [(one["id"], one["state"]) for one in shown] == [("a", "there"), ("b", "here")]
            assert (await at_b.get("/api/search", params={"q": "hello"})).json()["hits"]


async def test_a_decision_and_an_interrupt_come_from_the_other_node(url: str) -> None:
    async with open_pair(url) as nodes, nodes.a.device() as here, nodes.b.device() as there:
        await here.attach("trip", agent="echo")
        await there.attach("trip", device_id="phone")
        await here.send("trip", "/ask may I")
        asked = await there.wait_for("permission_requested")
        await there.say("decide", session_id="trip", request_id=asked["request_id"], decision="allow")
        done = await here.wait_for("permission_resolved", start=0, request_id=asked["request_id"])
        assert done["by_device"] == "phone"
        await here.wait_for("complete", start=0)
        await there.say("decide", session_id="trip", request_id=asked["request_id"], decision="allow")
        late = await there.wait_for("rejected", start=0, request_id=asked["request_id"])
        assert late["code"] in ("already_resolved", "unknown_request")
        await here.send("trip", "/hang")
        await here.wait_for("delivery", start=0, state="consumed")
        await there.say("interrupt", session_id="trip")
        await there.wait_for("interrupted", start=0)


async def test_what_belongs_to_a_session_is_done_at_its_home(url: str) -> None:
    """A fork and a removal that are asked for at the other node."""
    async with open_pair(url) as nodes, nodes.a.device() as here, open_http(nodes.b) as at_b:
        await here.attach("trip", agent="echo")
        end = await here.ask("trip", "hello")
        made = await at_b.post(
            "/api/sessions/trip/fork", json={"after_turn": end["turn_id"], "session_id": "copy"}
        )
        assert (made.status_code, made.json()) == (201, {"session_id": "copy"})
        assert await listed(at_b) == {"trip": ("a", "there"), "copy": ("a", "there")}
        again = await at_b.post("/api/sessions/trip/fork", json={"session_id": "copy"})
        assert again.status_code == 409
        await here.send("trip", "/hang")
        await here.wait_for("delivery", start=0, state="consumed")
        assert (await at_b.delete("/api/sessions/trip")).json()["error"]["code"] == "busy"
        assert (await at_b.delete("/api/sessions/copy")).status_code == 200
        assert (await at_b.delete("/api/sessions/copy")).status_code == 404
        assert await listed(at_b) == {"trip": ("a", "there")}


async def finish(device: Device, session_id: str, start: int) -> Json:
    return await device.wait_for(
        lambda one: one["type"] in ("complete", "error") and "seq" in one, start=start
    )


async def whole_text(server: Server, session_id: str) -> str:
    async with open_http(server) as http:
        story = story_of(await all_events(http, session_id))
    return story.text(story.facts[-1]["turn_id"])


async def test_kill_9_of_the_home(url: str) -> None:
    """Its agent continues; the other node says that the machine is away, shows its history, and has it all later."""
    async with open_pair(url) as nodes, nodes.b.device() as there:
        async with nodes.a.device() as here:
            await here.attach("trip", agent="echo")
            await there.attach("trip")
            await there.send("trip", "/words 400 10")
            await there.wait_for("message", start=0)
            await nodes.a.kill9()
        problem = await there.wait_for("error", start=0, code="machine_away", limit_s=6)
        assert problem["session_id"] == "trip"
        refused = await there.send("trip", "are you there")
        assert (refused["type"], refused["code"]) == ("rejected", "machine_away")
        async with open_http(nodes.b) as http:
            assert (await http.get("/api/sessions/trip/messages")).json()["messages"]
            assert await listed(http) == {"trip": ("a", "away")}
        async with nodes.b.device() as other:
            attached = await other.attach("trip")
            assert machine_of(attached) == ("a", "away")
        await nodes.a.restart()
        end = await finish(there, "trip", 0)
        assert there.text("trip", end["turn_id"]) == "".join(f"w{i} " for i in range(400))
        again = await there.ask("trip", "/turns")
        assert there.text("trip", again["turn_id"]) == "turns=2"
        async with open_http(nodes.b) as http:
            said = [
                one["message_id"] for one in await all_events(http, "trip") if one["type"] == "user_message"
            ]
            assert len(said) == 2, "what was refused left no trace"
            assert await listed(http) == {"trip": ("a", "there")}


async def test_kill_9_of_the_gateway(url: str) -> None:
    """The turn continues; its device is gone from `presence` within some seconds, and finds all of it at the next node."""
    async with open_pair(url) as nodes, nodes.a.device() as here:
        await here.attach("trip", agent="echo", device_id="mac")
        async with nodes.b.device() as there:
            await there.attach("trip", device_id="phone")
            await there.send("trip", "/words 300 10", message_id="m1")
            await there.wait_for("message", start=0)
            after = there.after("trip")
            await nodes.b.kill9()
        left = await here.wait_for(
            lambda one: (
                one["type"] == "presence" and [each["device_id"] for each in one["devices"]] == ["mac"]
            ),
            limit_s=10,
        )
        assert left["session_id"] == "trip"
        async with nodes.a.device() as there:
            assert (await there.attach("trip", after=after))["replay"] == "ok"
            again = await there.send("trip", "/words 300 10", message_id="m1")
            assert (again["type"], again["duplicate"]) == ("accepted", True)
            await finish(there, "trip", 0)
        await finish(here, "trip", 0)
        assert await whole_text(nodes.a, "trip") == "".join(f"w{i} " for i in range(300))
        await nodes.b.restart()
        async with nodes.b.device() as there:
            await there.attach("trip")
            assert (await there.ask("trip", "hello"))["type"] == "complete"


async def test_kill_9_of_the_database(own_cluster: Cluster) -> None:
    """Both devices hear of it, stay connected, and have the whole answer once it is back."""
    async with (
        open_pair(own_cluster.new_database()) as nodes,
        nodes.a.device() as here,
        nodes.b.device() as there,
    ):
        await here.attach("trip", agent="echo")
        await there.attach("trip")
        await there.send("trip", "/words 500 10")
        await there.wait_for("message", start=0)
        await trio.to_thread.run_sync(own_cluster.stop, signal.SIGQUIT)
        await here.wait_for("error", start=0, code="storage", limit_s=15)
        await there.wait_for("error", start=0, code="storage", limit_s=15)
        refused = await there.send("trip", "in between")
        assert (refused["type"], refused["code"]) == ("rejected", "storage")
        await trio.to_thread.run_sync(own_cluster.start)
        whole = "".join(f"w{i} " for i in range(500))
        for device in (here, there):
            end = await finish(device, "trip", 0)
            assert device.text("trip", end["turn_id"]) == whole
        assert (await there.ask("trip", "and now"))["type"] == "complete"


def opened_at(server: Server, key: str) -> AbstractAsyncContextManager[Device]:
    return open_device(server.url, key)


async def test_a_revoked_key_is_dead_at_the_other_node_within_a_second(url: str) -> None:
    async with open_pair(url) as nodes, open_http(nodes.a) as at_a:
        made = (await at_a.post("/api/devices", json={"name": "phone", "scope": "drive"})).json()
        key = made["key"]
        async with nodes.a.device() as here:
            await here.attach("trip", agent="echo")
        async with httpx.AsyncClient(base_url=nodes.b.url, headers={"X-API-Key": key}) as phone:
            with trio.fail_after(2):
                while (await phone.get("/api/sessions")).status_code != 200:
                    pass
            async with opened_at(nodes.b, key) as there:
                await there.attach("trip")
                began = trio.current_time()
                assert (await at_a.delete(f"/api/devices/{made['id']}")).status_code == 200
                assert await there.wait_closed(limit_s=5) == 4401
                assert (await phone.get("/api/sessions")).status_code == 401
                assert trio.current_time() - began < 1.0


async def test_a_pairing_code_of_one_node_is_good_at_the_other(url: str) -> None:
    async with open_pair(url) as nodes, open_http(nodes.a) as at_a:
        code = (await at_a.post("/api/devices/pair", json={"scope": "drive"})).json()["code"]
        async with httpx.AsyncClient(base_url=nodes.b.url, headers={"X-API-Key": code}) as phone:
            with trio.fail_after(2):
                while (paired := await phone.post("/api/pair", json={"name": "phone"})).status_code == 401:
                    pass
            assert paired.status_code in (200, 201), paired.text
            used = await phone.post("/api/pair", json={"name": "phone"})
            assert used.status_code == 401
        async with httpx.AsyncClient(
            base_url=nodes.a.url, headers={"X-API-Key": paired.json()["key"]}
        ) as phone:
            with trio.fail_after(2):
                while (await phone.get("/api/sessions")).status_code != 200:
                    pass


async def test_both_nodes_write_one_audit(url: str) -> None:
    """Acts at both at once: none is missing, and the chain is verified when both servers have ended."""
    async with open_pair(url) as nodes:

        async def add(server: Server, name: str) -> None:
            async with open_http(server) as http:
                for number in range(15):
                    made = await http.post("/api/devices", json={"name": f"{name}{number}", "scope": "view"})
                    assert made.status_code in (200, 201), made.text

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add, nodes.a, "a")
            nursery.start_soon(add, nodes.b, "b")
        async with open_http(nodes.a) as http:
            with trio.fail_after(5):
                while len((await http.get("/api/devices")).json()["devices"]) != 31:
                    pass
