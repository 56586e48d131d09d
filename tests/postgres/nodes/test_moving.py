"""A session moves to another machine. Two real servers on one database, and real hubs."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import httpx
import psutil
import psycopg
import trio

from storage.data_folder import blob_path
from tests.e2e.shared_server import all_events, hubs_of, open_http, sha256, wait_processes_gone
from tests.postgres.nodes.pair import Pair, open_pair, short_folder
from tests.support.device import Device, Json

MOVE = "/api/sessions/trip/move"


@attrs.frozen
class World:
    """Two nodes whose sessions work in a folder that both have, and HTTP at each."""

    nodes: Pair
    at_a: httpx.AsyncClient
    at_b: httpx.AsyncClient
    folder: Path

    url: str

    async def wait_for(self, http: httpx.AsyncClient, node: str, state: str) -> None:
        """Wait until a node sees another one in a state."""
        with trio.fail_after(15):
            while state not in [
                one["state"] for one in (await http.get("/api/nodes")).json()["nodes"] if one["id"] == node
            ]:
                pass

    def moves(self) -> list[tuple[str, str]]:
        """Return the moves that the audit has: session and subject."""
        with psycopg.connect(self.url) as connection:
            sql = "SELECT session_id, subject FROM audit WHERE act = 'session_moved' ORDER BY number"
            return list(connection.execute(sql))


@asynccontextmanager
async def world(url: str) -> AsyncIterator[World]:
    with short_folder() as folder:
        async with (
            open_pair(url, arguments=("--workspace", str(folder))) as nodes,
            open_http(nodes.a) as at_a,
            open_http(nodes.b) as at_b,
        ):
            yield World(nodes, at_a, at_b, folder, url)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def in_some(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def attach_again(device: Device, session_id: str = "trip") -> Json:
    """Do what a client does after `detached`: attach from where it was."""
    await device.wait_for("detached", start=0, session_id=session_id)
    return await device.attach(session_id, after=device.after(session_id))


async def story(http: httpx.AsyncClient) -> list[Json]:
    """Return all events, without the checkpoints, which come when they are done."""
    return [one for one in await all_events(http, "trip") if one["type"] != "checkpoint"]


async def test_an_idle_session_moves_and_continues(url: str) -> None:
    """Devices at both nodes attach again from where they were; the history is whole, and a new hub runs at the new home."""
    async with world(url) as at, at.nodes.a.device() as here, at.nodes.b.device() as there:
        await here.attach("trip", agent="echo", device_id="mac")
        await there.attach("trip", device_id="phone")
        first = await here.ask("trip", "one")
        text = "a long output"
        kept = blob_path(at.nodes.a.data, "trip", sha256(text))
        assert kept is not None
        kept.parent.mkdir(parents=True)
        kept.write_text(text)
        await here.wait_for("checkpoint", start=0, position="after")
        changes = "/api/sessions/trip/changes"
        assert (await at.at_b.get(changes, params={"turn": first["turn_id"]})).status_code == 200
        later = await here.send("trip", "at its time", message_id="later", not_before=in_some(3600))
        assert later["type"] == "accepted"
        [old] = hubs_of(at.nodes.a.data).values()
        answer = await at.at_a.post(MOVE, json={"node": "b"})
        assert (answer.status_code, answer.json()["moved"]) == (200, True), answer.text
        assert answer.json()["machine"] == {"id": "b", "name": "b", "state": "there"}
        assert hubs_of(at.nodes.a.data) == {}
        await wait_processes_gone([old])
        for device, state in ((here, "there"), (there, "here")):
            attached = await attach_again(device)
            assert (attached["replay"], attached["machine"]["state"]) == ("ok", state)
            assert [one["message_id"] for one in attached["queue"]] == ["later"]
        notice = await there.wait_for("notice", start=0, code="moved")
        assert "from a to b" in notice["content"]
        assert (await here.ask("trip", "two"))["type"] == "complete"
        await there.wait_for("user_message", start=0, content="two")
        assert set(hubs_of(at.nodes.b.data)) == {"trip"}
        assert code(await at.at_b.get(changes, params={"turn": first["turn_id"]})) == (404, "no_checkpoint")
        for http in (at.at_a, at.at_b):
            assert (await http.get(f"/uploads/blobs/trip/{sha256(text)}")).text == text
            assert (await http.get(f"/uploads/blobs/trip/{sha256('')}")).status_code == 404
        again = await at.at_b.post(MOVE, json={"node": "b"})
        assert (again.status_code, again.json()["moved"]) == (200, False)
        back = await at.at_b.post(MOVE, json={"node": "a"})
        assert back.json()["moved"] is True
        assert (await attach_again(here))["machine"]["state"] == "here"
        assert code(await at.at_a.get(changes, params={"turn": first["turn_id"]})) == (404, "no_checkpoint")
        third = await here.ask("trip", "three")
        await here.wait_for("checkpoint", start=0, position="after", of_turn=third["turn_id"])
        assert (await at.at_b.get(changes, params={"turn": third["turn_id"]})).status_code == 200
        assert (await at.at_a.post(MOVE, json={"node": "b"})).status_code == 200
        assert at.moves() == [("trip", "b"), ("trip", "a"), ("trip", "b")]
        assert kept.exists()
        assert (await at.at_b.delete("/api/sessions/trip")).status_code == 200
        with trio.fail_after(10):  # noqa: ASYNC912 - waits, or has nothing to wait for
            while kept.exists():
                await trio.lowlevel.checkpoint()


async def test_what_cannot_be_moved_stays(url: str) -> None:
    async with world(url) as at, at.nodes.a.device() as here:
        await here.attach("trip", agent="echo")
        await here.ask("trip", "hello")
        assert code(await at.at_b.post(MOVE, json={"node": "c"})) == (404, "unknown_node")
        assert code(await at.at_b.post(MOVE, json={"node": 3})) == (400, "bad_request")
        assert code(await at.at_b.post(MOVE, json={"node": "b", "force": "yes"})) == (400, "bad_request")
        assert code(await at.at_b.post("/api/sessions/none/move", json={"node": "b"})) == (404, "not_found")
        made = (await at.at_a.post("/api/devices", json={"name": "phone", "scope": "drive"})).json()
        async with httpx.AsyncClient(base_url=at.nodes.a.url, headers={"X-API-Key": made["key"]}) as phone:
            assert code(await phone.post(MOVE, json={"node": "b"})) == (403, "forbidden")
        await here.send("trip", "/hang")
        await here.wait_for("delivery", start=0, state="consumed", limit_s=20)
        assert code(await at.at_b.post(MOVE, json={"node": "b"})) == (409, "busy")
        await here.say("interrupt", session_id="trip")
        await here.wait_for("interrupted")
        own = at.folder / "only-here"
        own.mkdir()
        await here.attach("elsewhere", agent="echo", settings={"workspace": str(own)})
        own.rmdir()
        gone = await at.at_a.post("/api/sessions/elsewhere/move", json={"node": "b"})
        assert code(gone) == (409, "bad_workspace")
        assert (await here.ask("trip", "still here"))["type"] == "complete"
        assert set(hubs_of(at.nodes.a.data)) == {"trip"}
        found = (await at.at_b.get("/api/sessions")).json()["sessions"]
        assert {one["session_id"]: one["machine"]["id"] for one in found} == {"trip": "a", "elsewhere": "a"}


async def test_force_interrupts_and_what_waits_runs_there(url: str) -> None:
    async with world(url) as at, at.nodes.b.device() as there:
        await there.attach("trip", agent="echo", settings={"node": "a"}, device_id="phone")
        await there.send("trip", "/words 5000 20", message_id="m1")
        await there.wait_for("message", start=0)
        await there.send("trip", "next", message_id="m2")
        answer = await at.at_b.post(MOVE, json={"node": "b", "force": True})
        assert answer.status_code == 200, answer.text
        assert hubs_of(at.nodes.a.data) == {}
        await attach_again(there)
        await there.wait_for("interrupted", start=0)
        done = await there.wait_for("complete", start=0)
        said = [one for one in there.events("trip", "turn_started") if one["turn_id"] == done["turn_id"]]
        assert [one["message_id"] for one in said] == ["m2"]
        assert there.text("trip", done["turn_id"])
        events = await all_events(at.at_a, "trip")
        handed = [
            one["message_id"] for one in events if one["type"] == "delivery" and one["state"] == "handed"
        ]
        assert handed == ["m1", "m2"], "no prompt went out twice"


async def test_a_lost_home_comes_back_and_writes_nothing(url: str) -> None:
    """Its server stands still while its hub works on: the session is moved by force. Then the server runs again."""
    async with world(url) as at, at.nodes.b.device() as there:
        await there.attach("trip", agent="echo", settings={"node": "a"})
        await there.send("trip", "/words 100000 20", message_id="m1")
        await there.wait_for("message", start=0)
        await there.send("trip", "next", message_id="m2")
        [hub] = hubs_of(at.nodes.a.data).values()
        server = psutil.Process(at.nodes.a.pid)
        server.send_signal(signal.SIGSTOP)
        try:
            await at.wait_for(at.at_b, "a", "away")
            refused = await at.at_b.post(MOVE, json={"node": "b"})
            assert code(refused) == (503, "machine_away")
            assert "force" in refused.json()["error"]["message"]
            answer = await at.at_b.post(MOVE, json={"node": "b", "force": True})
            assert answer.status_code == 200, answer.text
            await attach_again(there)
            await there.wait_for("notice", start=0, code="moved")
            await there.wait_for("error", start=0, code="agent_exited")
            done = await there.wait_for("complete", start=0)
            assert there.text("trip", done["turn_id"])
            assert hub.is_running(), "the hub of the old home works on"
            before = await story(at.at_b)
        finally:
            server.send_signal(signal.SIGCONT)
        await wait_processes_gone([hub])
        await at.wait_for(at.at_b, "a", "there")
        assert await story(at.at_b) == before, "nothing was written by it"
        async with at.nodes.a.device() as here:
            assert (await here.attach("trip"))["machine"]["state"] == "there"
            assert (await here.ask("trip", "from a"))["type"] == "complete"


async def test_a_lost_home_that_starts_again_ends_its_hub(url: str) -> None:
    async with world(url) as at, at.nodes.b.device() as there:
        await there.attach("trip", agent="echo", settings={"node": "a"})
        await there.send("trip", "/words 100000 20", message_id="m1")
        await there.wait_for("message", start=0)
        [hub] = hubs_of(at.nodes.a.data).values()
        await at.nodes.a.kill9()
        await at.wait_for(at.at_b, "a", "away")
        assert (await at.at_b.post(MOVE, json={"node": "b", "force": True})).status_code == 200
        await attach_again(there)
        await there.wait_for("error", start=0, code="agent_exited")
        before = await story(at.at_b)
        assert hub.is_running()
        await at.nodes.a.restart()
        await wait_processes_gone([hub])
        assert await story(at.at_b) == before
        assert (await there.ask("trip", "again"))["type"] == "complete"


async def test_a_message_for_later_runs_once_where_its_session_is(url: str) -> None:
    """Over the death of its home, which runs it when it is back; and at the new home after a move."""
    async with world(url) as at, at.nodes.b.device() as there:
        await there.attach("trip", agent="echo", settings={"node": "a"})
        await there.send("trip", "over the death", message_id="m1", not_before=in_some(2))
        await at.nodes.a.kill9()
        await at.wait_for(at.at_b, "a", "away")  # at least three seconds later
        assert [one["type"] for one in await story(at.at_b)] == ["user_message", "delivery"]
        await at.nodes.a.restart()
        await there.wait_for("complete", start=0)
        await there.send("trip", "after the move", message_id="m2", not_before=in_some(4))
        assert (await at.at_b.post(MOVE, json={"node": "b"})).status_code == 200
        await attach_again(there)
        await there.wait_for("delivery", start=0, message_id="m2", state="answered")
        handed = [one["message_id"] for one in await story(at.at_b) if one.get("state") == "handed"]
        assert handed == ["m1", "m2"]
        assert set(hubs_of(at.nodes.b.data)) == {"trip"}


async def test_a_home_that_is_killed_while_it_lets_go(url: str) -> None:
    """Its hub has ended, and nobody knows whether the move was stored: the session is at one machine, and works there."""
    async with world(url) as at, at.nodes.b.device() as there:
        await there.attach("trip", agent="echo", settings={"node": "a"})
        assert (await there.ask("trip", "one"))["type"] == "complete"
        answers: list[httpx.Response] = []

        async def move() -> None:
            answers.append(await at.at_b.post(MOVE, json={"node": "b"}, timeout=30))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(move)
            with trio.fail_after(20):  # noqa: ASYNC912 - waits, or has nothing to wait for
                while any(hub.is_running() for hub in hubs_of(at.nodes.a.data).values()):
                    await trio.lowlevel.checkpoint()
            await at.nodes.a.kill9()
        await at.nodes.a.restart()
        with trio.fail_after(15):  # until node b has seen that it is back
            while any(one["state"] == "away" for one in (await at.at_b.get("/api/nodes")).json()["nodes"]):
                pass
        moved = [one for one in await story(at.at_b) if one.get("code") == "moved"]
        [entry] = (await at.at_b.get("/api/sessions")).json()["sessions"]
        assert entry["machine"]["id"] == ("b" if moved else "a")
        assert answers[0].status_code == 200 if moved else answers[0].status_code == 503, answers[0].text
        async with at.nodes.b.device() as device:
            await device.attach("trip")
            assert (await device.ask("trip", "two"))["type"] == "complete"
        assert len([one for one in (at.nodes.a, at.nodes.b) if "trip" in hubs_of(one.data)]) == 1
