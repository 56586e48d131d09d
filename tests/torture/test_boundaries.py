"""kill -9 of server, hub and agent, in every combination, at every step of a turn.

One server for each combination: a session is brought to each step and held there, then all victims die at once.
"""

from __future__ import annotations

import signal
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.e2e.shared_server import all_events, open_http
from tests.standin.rig import eventually
from tests.support.device import TURN_ENDS, Device, Json
from tests.support.invariants import (
    accepted_problems,
    committed_of,
    journal_problems,
    prompt_problems,
    view_problems,
)
from tests.support.server import open_server
from tests.torture.rounds import orphan_problems, prompts_of
from tests.torture.town import Town, config_of
from tests.torture.traps import Victim

WORDS = "".join(f"w{i} " for i in range(200))
SLOW = "/words 200 10"
"""Two seconds of pieces: it ends whole when others die."""

ENDLESS = "/words 100000 10"
"""A turn that certainly runs when its hub dies."""

LIMIT_S = 40.0
"""How long the end of a turn is waited for."""

VICTIMS: tuple[Victim, ...] = ("server", "hub", "agent")
EVERY = [frozenset(some) for count in (1, 2, 3) for some in combinations(VICTIMS, count)]


def fates(step: str, victims: frozenset[Victim]) -> set[str]:
    """Return what may become of the message of a session that is at `step` when the victims die."""
    if step == "accepted":
        return {"answered", "unknown", "failed"} if "hub" in victims else {"answered"}
    if step in ("end", "queued"):
        return {"answered"}
    if "hub" in victims:
        return {"unknown"} if step == "handed" else {"failed"}
    if step == "tool":
        return {"failed"} if "agent" in victims else {"interrupted"}
    return {"interrupted"} if step == "consumed" else {"answered"}


@attrs.define(eq=False)
class Stage:
    """The device that brings each session to its step, and what it was promised."""

    town: Town
    device: Device
    accepted: dict[str, dict[str, int]] = attrs.field(factory=dict)

    async def send(self, step: str, content: str, message_id: str = "it") -> None:
        accepted = await self.device.send(step, content, message_id=message_id)
        assert accepted["type"] == "accepted", accepted
        self.accepted.setdefault(step, {})[message_id] = accepted["seq"]

    async def see(self, step: str, kind: str, **fields: Any) -> Json:
        return await self.device.wait_for(kind, session_id=step, start=0, **fields)

    async def set_up(self, words: str) -> None:
        """Bring each session to the step that it is named after, those that do not hold still last; they say `words`."""
        device = self.device
        for step in ("handed", "queued", "consumed", "permission", "end", "mid", "first", "accepted"):
            await device.attach(step, agent="echo")
        await device.attach("tool", agent="relay")
        await self.send("handed", "warm up", "warm")
        await self.see("handed", "complete")
        hub = self.town.hub_of("handed")
        assert hub is not None
        hub.send_signal(signal.SIGSTOP)
        await self.send("handed", "/turns")
        await self.see("handed", "delivery", message_id="it", state="handed")
        await self.send("queued", "/hang", "before")
        await self.see("queued", "delivery", message_id="before", state="consumed")
        await self.send("queued", "/turns")
        await self.see("queued", "delivery", message_id="it", state="queued")
        await self.send("consumed", "/hang")
        await self.see("consumed", "delivery", state="consumed")
        await self.send("tool", "hold it")
        await eventually(lambda: any(self.town.processes("tool", "tool")))
        await self.send("permission", "/ask may I")
        await self.see("permission", "permission_requested")
        await self.send("end", "hello")
        await self.see("end", "complete")
        await self.send("mid", words)
        for _ in range(20):
            await device.wait_for("message", session_id="mid")
        await self.send("first", words)
        await self.see("first", "message")
        await self.send("accepted", "/turns")

    def strike(self, victims: frozenset[Victim]) -> None:
        """Kill at once whatever is a victim, in all sessions."""
        if "server" in victims:
            self.town.kill_server()
        for step in (*self.accepted,):
            hub = self.town.hub_of(step)
            if "hub" in victims and hub is not None:
                hub.kill()
        if "agent" in victims:
            for process in list(self.town.processes("tool", "agent")):
                process.kill()


async def finish(town: Town, device: Device, seen: dict[str, list[Json]], victims: frozenset[Victim]) -> None:
    """Attach again, and do what a person would until every turn is over."""
    stopped = town.hub_of("handed")
    if stopped is not None:
        stopped.send_signal(signal.SIGCONT)
    steps = list(seen)
    for step in steps:
        attached = await device.attach(step, after={"epoch": 1, "seq": seen[step][-1]["seq"]})
        assert attached["replay"] == "ok"
        for pending in attached["pending"]:
            await device.say("decide", session_id=step, request_id=pending["request_id"], decision="allow")
    for step in ("queued", "consumed", "tool"):
        killed = "hub" in victims or (step == "tool" and "agent" in victims)
        if not killed:  # else the interrupt might be faster than the bad news
            turn_id = next(frame["turn_id"] for frame in seen[step] if frame["type"] == "turn_started")
            await device.say("interrupt", session_id=step, turn_id=turn_id)
    for step in steps:
        with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has it
            while not is_over(seen[step] + device.events(step)):
                await device.wait_for(lambda frame: True, start=len(device.frames))


def is_over(frames: list[Json]) -> bool:
    """Tell whether the message `it` has its outcome, and its turn its end."""
    turns = {
        frame["turn_id"]
        for frame in frames
        if frame["type"] == "delivery"
        and frame["message_id"] == "it"
        and frame["state"] in ("answered", "failed", "interrupted", "unknown")
    }
    return any(frame["type"] in TURN_ENDS and frame["turn_id"] in turns for frame in frames)


@pytest.mark.parametrize("victims", EVERY, ids=lambda some: "+".join(sorted(some)))
async def test_every_step(tmp_path_factory: pytest.TempPathFactory, victims: frozenset[Victim]) -> None:
    folder = tmp_path_factory.mktemp("t")
    record = folder / "r"
    record.mkdir()
    async with open_server(folder, config=config_of(sys.executable, record)) as server:
        town = Town.of(server, record)
        async with server.device() as device, server.device() as other:
            stage = Stage(town, device)
            await stage.set_up(ENDLESS if "hub" in victims else SLOW)
            steps = list(stage.accepted)
            stage.strike(victims)
            if "server" in victims:
                await server.wait()
                await device.wait_closed()
                await server.restart()
            else:
                await finish_beside(town, device, steps, other)
            seen = {step: device.events(step) for step in steps}
        async with server.device() as device:
            await finish(town, device, seen, victims)
            seen = {step: seen[step] + device.events(step) for step in steps}
        await judge(stage, seen, victims, folder)


async def finish_beside(town: Town, device: Device, steps: list[str], other: Device) -> None:
    """Hear of a death while attached, on a device that was not there before."""
    for step in steps:
        await other.attach(step)
    await device.say("ping")
    await device.wait_for("pong")


async def judge(stage: Stage, seen: dict[str, list[Json]], victims: frozenset[Victim], folder: Path) -> None:
    async with open_http(stage.town.server) as http:
        for step, frames in seen.items():
            journal = [committed_of(frame) for frame in await all_events(http, step)]
            problems = journal_problems(journal) + accepted_problems(journal, stage.accepted[step])
            problems += view_problems("device", journal, [committed_of(frame) for frame in frames])
            if step == "tool":
                problems += prompt_problems(journal, prompts_of(stage.town.record, "tool"))
            assert problems == [], step
            states = [
                frame for frame in frames if frame["type"] == "delivery" and frame["message_id"] == "it"
            ]
            assert states[-1]["state"] in fates(step, victims), step
            if step in ("first", "mid") and "hub" not in victims:
                assert story_text(frames) == WORDS
    assert await orphan_problems(stage.town) == []


def story_text(frames: list[Json]) -> str:
    text = ""
    for frame in frames:
        if frame["type"] == "message":
            text = text[: frame["offset"]] + frame["content"]
    return text
