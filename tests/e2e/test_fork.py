"""Section 8, Fork: a session with the history of another one, up to a turn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from tests.e2e.agents import AGENTS, Agents, begin, end_of, open_agents
from tests.e2e.shared_server import Shared, all_events, open_http
from tests.standin.replies import Answer
from tests.standin.rig import eventually
from tests.support.device import Device
from tests.support.server import open_server


async def test_a_fork_has_the_history_up_to_its_turn(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo", settings={"effort": "low"})
        ends = [await device.ask(sid, text) for text in ("one", "two two", "three")]
        call = f"/api/sessions/{sid}/fork"
        body = {"after_turn": ends[1]["turn_id"], "session_id": f"{sid}-fork", "title": "Other way"}
        for status in (201, 201):  # again it is the same
            made = await http.post(call, json=body)
            assert (made.status_code, made.json()) == (status, {"session_id": f"{sid}-fork"})
        said = (await http.get(f"/api/sessions/{sid}-fork/messages")).json()["messages"]
        assert [one["content"] for one in said] == ["one", "echo: one ", "two two", "echo: two two "]
        whole = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
        assert [one["timestamp"] for one in said] == [one["timestamp"] for one in whole[:4]]
        events = await all_events(http, f"{sid}-fork")
        assert [event["message_count"] for event in events if event["type"] == "complete"] == [2, 4]
        attached = await device.attach(f"{sid}-fork")
        assert (attached["title"], attached["settings"]["effort"], attached["queue"]) == (
            "Other way",
            "low",
            [],
        )
        end = await device.ask(f"{sid}-fork", "/turns")
        assert device.text(f"{sid}-fork", end["turn_id"]) == "turns=3"
        assert (await http.get(f"/api/sessions/{sid}")).status_code in (404, 405)
        found = (await http.get("/api/search", params={"q": "two"})).json()["hits"]
        assert f"{sid}-fork" in {hit["session_id"] for hit in found}


async def test_a_fork_has_the_to_do_list_of_its_turns(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, "/todo A")
        await device.ask(sid, "/todo B, C")
        made = await http.post(f"/api/sessions/{sid}/fork", json={"after_turn": end["turn_id"]})
        attached = await device.attach(made.json()["session_id"])
        assert attached["plan"] == [{"content": "A", "status": "completed"}]
        fresh = await http.post(f"/api/sessions/{sid}/fork", json={"after_turn": None})
        assert (await device.attach(fresh.json()["session_id"]))["plan"] == []


async def test_what_cannot_be_forked(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, "one")
        await device.send(sid, "/hang", message_id="hang")
        running = (await device.wait_for("turn_started", start=0, message_id="hang"))["turn_id"]
        call = f"/api/sessions/{sid}/fork"
        fresh = await http.post(call, json={"after_turn": None})
        assert fresh.status_code == 201
        said = (await http.get(f"/api/sessions/{fresh.json()['session_id']}/messages")).json()["messages"]
        assert said == []
        for body, status, code in (
            ({"after_turn": "nope"}, 404, "unknown_turn"),
            ({"after_turn": running}, 409, "busy"),
            ({"after_turn": end["turn_id"], "session_id": sid}, 409, "exists"),
            ({"after_turn": 7}, 400, "bad_request"),
            ({"after_turn": None, "session_id": "no/id"}, 400, "bad_request"),
        ):
            refused = await http.post(call, json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), body
        assert (await http.post("/api/sessions/nowhere/fork", json={})).status_code == 404
        await device.say("interrupt", session_id=sid)
        await device.wait_for("interrupted")


async def test_a_fork_is_one_however_often_it_is_asked_for(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, "one")
        call = f"/api/sessions/{sid}/fork"
        body = {"after_turn": end["turn_id"], "session_id": f"{sid}-fork"}
        answers: list[int] = []

        async def make() -> None:
            answers.append((await http.post(call, json=body)).status_code)

        # A device that lost an answer asks while the first is written.
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(make)
        assert answers == [201] * 6
        await device.say("configure", session_id=sid, settings={"effort": "high"})
        await device.wait_for("session_updated")
        await make()
        assert answers[6:] == [201]
        other = await http.post(call, json=body | {"after_turn": None})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "exists")


async def test_a_fork_outlives_the_deletion_of_its_source(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        async with server.device() as device, open_http(server) as http:
            await device.attach("trip", agent="echo")
            end = await device.ask("trip", "one")
            body = {"after_turn": end["turn_id"], "session_id": "other"}
            assert (await http.post("/api/sessions/trip/fork", json=body)).status_code == 201
            assert (await http.delete("/api/sessions/trip")).status_code == 200
            await server.kill9()
        await server.restart()
        async with server.device() as device:
            await device.attach("other")
            again = await device.ask("other", "/turns")
            assert device.text("other", again["turn_id"]) == "turns=2"


async def _talk(place: Agents, agent: str, device: Device, sid: str, said: str, answer: str) -> str:
    """Have one turn; return its id."""
    place.standin(agent).script(Answer.of(answer))
    begun = await begin(device, sid, said)
    end = await end_of(device, begun["turn_id"])
    assert end["type"] == "complete", end
    assert "agent_position" not in end
    return str(begun["turn_id"])


async def _fork(place: Agents, turn_id: str, name: str, source: str = "trip") -> None:
    async with open_http(place.server) as http:
        made = await http.post(
            f"/api/sessions/{source}/fork", json={"after_turn": turn_id, "session_id": name}
        )
        assert made.status_code == 201


def _heard(place: Agents, agent: str) -> str:
    """Return what the model service was last asked."""
    return json.dumps(place.standin(agent).requests[-1].body)


@pytest.mark.parametrize("agent", AGENTS)
async def test_an_agent_forks_its_own_record(tmp_path: Path, agent: str) -> None:
    async with open_agents(tmp_path) as place, place.server.device() as device:
        await device.attach("trip", agent=agent)
        first = await _talk(place, agent, device, "trip", "say alpha", "answer alpha")
        await _talk(place, agent, device, "trip", "say beta", "answer beta")
        await _fork(place, first, "other")
        await device.attach("other")
        second = await _talk(place, agent, device, "other", "say gamma", "answer gamma")
        heard = _heard(place, agent)
        assert [heard.count(word) for word in ("say alpha", "answer alpha", "say gamma")] == [1, 1, 1]
        assert "say beta" not in heard
        assert "answer beta" not in heard
        assert device.events("other", "notice") == []
        await _talk(place, agent, device, "trip", "say delta", "answer delta")
        assert ["gamma" in _heard(place, agent), "answer beta" in _heard(place, agent)] == [False, True]
        await _fork(place, second, "third", "other")
        await place.server.kill9()
        await place.server.restart()
        async with place.server.device() as again:
            await again.attach("other")
            await _talk(place, agent, again, "other", "say eta", "answer eta")
            assert "answer gamma" in _heard(place, agent)
            await again.attach("third")
            await _talk(place, agent, again, "third", "say zeta", "answer zeta")
            heard = _heard(place, agent)
            assert [heard.count(f"answer {word}") for word in ("alpha", "beta", "gamma", "eta")] == [
                1,
                0,
                1,
                0,
            ]


def _records(place: Agents, word: str) -> list[Path]:
    """Return the agents' own records that have a word."""
    return [path for path in place.home.rglob("*.jsonl") if word in path.read_text(errors="replace")]


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_record_that_cannot_be_forked_is_given_as_text(tmp_path: Path, agent: str) -> None:
    async with open_agents(tmp_path) as place, place.server.device() as device:
        await device.attach("trip", agent=agent)
        first = await _talk(place, agent, device, "trip", "say alpha", "answer alpha")
        await _fork(place, first, "other")
        await eventually(lambda: bool(_records(place, "answer alpha")))  # written after the answer is shown
        for record in _records(place, "alpha"):
            record.unlink()
        await device.attach("other")
        await _talk(place, agent, device, "other", "say gamma", "answer gamma")
        assert "answer alpha" in _heard(place, agent)
        assert [told["code"] for told in device.events("other", "notice")] == ["context_given_again"]
