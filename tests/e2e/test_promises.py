"""Section 5: what a crash, an end and a restart of the server must not cost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from tests.e2e.shared_server import (
    ENDLESS,
    all_events,
    end_turn,
    hubs_of,
    kinds_of_turn,
    open_http,
    story_of,
    wait_processes_gone,
    words_of,
)
from tests.support.device import Json
from tests.support.server import Server, open_server, processes_of


async def journal_of(server: Server, sid: str) -> list[Json]:
    async with open_http(server) as http:
        return await all_events(http, sid)


class Follower:
    """A person's device over several connections: keeps what it saw, and its place."""

    def __init__(self, server: Server, sid: str, pace_ms: int = 0) -> None:
        self.server, self.sid, self.pace_ms = server, sid, pace_ms
        self.seen: list[Json] = []

    async def follow(self, pieces: int | None, *, task_status: trio.TaskStatus[None]) -> None:
        """Attach with the place that is known, and read on for so many pieces, or to the turn's end."""
        async with self.server.device() as device:
            after = {"epoch": 1, "seq": self.seen[-1]["seq"]} if self.seen else None
            attached = await device.attach(self.sid, after=after, history=1000, pace_ms=self.pace_ms)
            assert attached["replay"] == ("ok" if after else "snapshot")
            task_status.started()
            try:
                if pieces is None:
                    await device.wait_for("interrupted")
                else:
                    for _ in range(pieces):
                        await device.wait_for("message")
            finally:
                self.seen += device.events(self.sid)


async def test_kill_9_in_mid_turn(place: Path) -> None:
    """The server dies twice in one turn: the answer is whole, and each device has it without a gap."""
    dice = random.Random(1)
    async with open_server(place) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", ENDLESS, message_id="m")
        followers = [Follower(server, "trip"), Follower(server, "trip"), Follower(server, "trip", pace_ms=50)]
        for pieces in (dice.randint(1, 10), dice.randint(1, 10), None):
            async with trio.open_nursery() as nursery:
                for follower in followers:
                    await nursery.start(follower.follow, pieces)
                if pieces is None:
                    async with server.device() as device:
                        await device.attach("trip")
                        await end_turn(device, "trip")
            if pieces is not None:
                await server.kill9()
                await server.restart()
        events = await journal_of(server, "trip")
        whole = story_of(events)
        for follower in followers:
            assert story_of(follower.seen) == whole
        assert words_of(whole.text(events[0]["turn_id"])) > 2
        assert kinds_of_turn(events, events[0]["turn_id"]) == [
            "user_message",
            "turn_started",
            "d:handed",
            "d:consumed",
            "message",
            "d:interrupted",
            "interrupted",
        ]


async def test_sigterm_in_mid_turn_hands_over(place: Path) -> None:
    async with open_server(place) as server:
        async with server.device() as device:
            await device.attach("busy", agent="echo")
            await device.attach("idle", agent="echo")
            await device.ask("idle", "hello")
            await device.send("busy", ENDLESS)
            await device.wait_for("message", session_id="busy")
            hubs = hubs_of(server.data)
            assert await server.terminate() == 0
            assert await device.wait_closed() == 1001
            seen = device.events("busy")
            after = device.after("busy")
        await wait_processes_gone([hubs["idle"]])
        assert hubs["busy"].is_running()
        await server.restart()
        assert hubs_of(server.data)["busy"] == hubs["busy"]
        async with server.device() as device:
            assert (await device.attach("busy", after=after))["replay"] == "ok"
            end = await end_turn(device, "busy")
            whole = story_of(await journal_of(server, "busy"))
            assert story_of(seen + device.events("busy")) == whole
            assert words_of(whole.text(end["turn_id"])) > 1
            again = await device.ask("busy", "/turns")
            assert device.text("busy", again["turn_id"]) == "turns=2"


async def test_sigint_stops_all_hubs_of_the_folder(place: Path) -> None:
    """Also those that an earlier server left; the next server ends their turns."""
    async with open_server(place) as server:
        async with server.device() as device:
            for name in ("left", "mine"):
                await device.attach(name, agent="echo")
            await device.send("left", "/hang")
            await device.wait_for("delivery", session_id="left", state="consumed")
            await server.kill9()
        await server.restart()
        async with server.device() as device:
            await device.attach("mine")
            await device.send("mine", "/hang")
            await device.wait_for("delivery", session_id="mine", state="consumed")
            hubs = hubs_of(server.data)
            assert set(hubs) == {"left", "mine"}
            assert await server.interrupt() == 0
            assert await device.wait_closed() == 1001
        await wait_processes_gone(hubs.values(), 0.5)
        assert await trio.to_thread.run_sync(processes_of, server.data) == []
        await server.restart()
        async with server.device() as device:
            for name in ("left", "mine"):
                await device.attach(name)
                end = await device.wait_for("error", session_id=name, start=0)
                assert end["code"] == "agent_exited"
                again = await device.ask(name, "/turns")
                assert device.text(name, again["turn_id"]) == "turns=2"


@pytest.mark.parametrize("wait", [True, False])
async def test_a_duplicate_send_across_kill_9(place: Path, wait: bool) -> None:
    """Sent before and after a crash it runs once, whether or not its answer was heard."""
    async with open_server(place) as server:
        for number in range(2):
            async with server.device() as device:
                await device.attach("trip", agent="echo")
                if wait:
                    first = await device.send("trip", "/turns", message_id=f"m{number}")
                else:
                    await device.say("send", session_id="trip", message_id=f"m{number}", content="/turns")
                await server.kill9()
            await server.restart()
            async with server.device() as device:
                await device.attach("trip", agent="echo")
                again = await device.send("trip", "/turns", message_id=f"m{number}")
                assert again["type"] == "accepted"
                if wait:
                    assert (again["duplicate"], again["seq"]) == (True, first["seq"])
                said = await device.wait_for("user_message", start=0, message_id=f"m{number}")
                end = await device.wait_for(
                    lambda frame, turn=said["turn_id"]: (  # type: ignore[misc]
                        frame["type"] in ("complete", "error") and frame["turn_id"] == turn
                    ),
                    start=0,
                )
                assert end["type"] == "complete", end
        events = await journal_of(server, "trip")
        story_of(events)
        for kind in ("user_message", "turn_started"):
            told = [event["message_id"] for event in events if event["type"] == kind]
            assert told == ["m0", "m1"]


async def test_what_was_accepted_is_there_after_kill_9(place: Path) -> None:
    """Five sessions take messages as fast as they can while the server dies."""
    names = [f"s{number}" for number in range(5)]
    accepted: dict[tuple[str, str], int] = {}
    seen: dict[str, list[Json]] = {}

    async def pour(server: Server, name: str) -> None:
        async with server.device() as device:
            await device.attach(name, agent="echo")
            for number in range(200):
                message_id = f"{name}-{number}"
                await device.say("send", session_id=name, message_id=message_id, content="/words 20")
                if number > 60:
                    break
            try:
                await device.wait_closed()
            finally:
                for frame in device.frames:
                    if frame["type"] == "accepted":
                        accepted[name, frame["message_id"]] = frame["seq"]
                seen[name] = device.events(name)

    async with open_server(place) as server:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(pour, server, name)
            async with server.device() as device:
                await device.attach(names[0], agent="echo")
                for _ in range(6):
                    await device.wait_for("complete")
            await server.kill9()
        assert len(accepted) > 20
        await server.restart()
        for name in names:
            async with server.device() as device:
                await device.attach(name, after={"epoch": 1, "seq": seen[name][-1]["seq"]})
                assert (await device.ask(name, "last"))["type"] == "complete"
                story = story_of(seen[name] + device.events(name))
            events = await journal_of(server, name)
            assert story == story_of(events)
            said = {event["message_id"]: event["seq"] for event in events if event["type"] == "user_message"}
            started = [event["message_id"] for event in events if event["type"] == "turn_started"]
            assert len(started) == len(set(started)) == len(said)
            for (session, message_id), seq in accepted.items():
                if session == name:
                    assert said[message_id] == seq


async def test_an_abandoned_hub_leaves_its_events_behind(place: Path) -> None:
    """No server comes back in time: the hub ends by itself, and the next server has its answer whole."""
    async with open_server(place, config="hub_idle_s = 0.5\n") as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", "/words 150 4")
            first = await device.wait_for("message")
            hub = hubs_of(server.data)["trip"]
            await server.kill9()
            seen = device.events("trip")
            seen = seen[: seen.index(first) + 1]  # the turn may be over for this device
            after = {"epoch": first["epoch"], "seq": first["seq"]}
        await wait_processes_gone([hub])
        await server.restart()
        async with server.device() as device:
            assert (await device.attach("trip", after=after))["replay"] == "ok"
            end = await device.wait_for("complete", start=0)
            assert end["text_length"] == len("".join(f"w{i} " for i in range(150)))
            assert story_of(seen + device.events("trip")) == story_of(await journal_of(server, "trip"))
            again = await device.ask("trip", "/turns")
            assert device.text("trip", again["turn_id"]) == "turns=2"


async def test_the_number_of_turns_is_never_forgotten(place: Path) -> None:
    """Across an idle hub that is stopped, a restart, a crash of the server and one of the hub."""
    async with open_server(place, config="hub_idle_s = 0.3\n") as server:

        async def turns() -> str:
            async with server.device() as device:
                await device.attach("trip", agent="echo")
                end = await device.ask("trip", "/turns")
                return device.text("trip", end["turn_id"])

        assert await turns() == "turns=1"
        await wait_processes_gone(hubs_of(server.data).values())
        assert await turns() == "turns=2"
        await server.terminate()
        await server.restart()
        assert await turns() == "turns=3"
        await server.kill9()
        await server.restart()
        assert await turns() == "turns=4"
        for hub in hubs_of(server.data).values():
            hub.kill()
        assert await turns() == "turns=5"
        await server.interrupt()
        await server.restart()
        assert await turns() == "turns=6"
        story_of(await journal_of(server, "trip"))


async def test_a_decision_waits_across_kill_9(place: Path) -> None:
    """A pending request keeps its id, and an answer to the next server reaches the agent."""
    async with open_server(place) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", "/ask may I")
            asked = await device.wait_for("permission_requested")
            await server.kill9()
        await server.restart()
        async with server.device() as device:
            attached = await device.attach("trip", history=0)
            assert attached["state"] == "waiting"
            assert [each["request_id"] for each in attached["pending"]] == [asked["request_id"]]
            await device.say("decide", session_id="trip", request_id=asked["request_id"], decision="allow")
            await device.wait_for("permission_resolved", request_id=asked["request_id"])
            await server.kill9()
        await server.restart()
        async with server.device() as device:
            await device.attach("trip")
            end = await device.wait_for("complete", start=0)
            assert device.text("trip", end["turn_id"]) == "allowed"
            assert len(device.events("trip", "permission_resolved")) == 1
