"""A session of a real agent moves to another machine: the agent's own record stays, and its history goes along as text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from tests.e2e.agents import AGENTS, agent_tables, begin, end_of
from tests.e2e.shared_server import hubs_of, open_http, wait_processes_gone
from tests.postgres.nodes.pair import Pair, open_pair, short_folder
from tests.standin.anthropic import StandIn, open_standin
from tests.standin.openai import OpenAIStandIn, open_openai
from tests.standin.replies import Answer
from tests.support.device import Device


@attrs.frozen
class Place:
    """Two machines with both agents, each with a home of its own for them, and the models that both machines use."""

    nodes: Pair
    homes: dict[str, Path]
    models: dict[str, StandIn | OpenAIStandIn]
    at_b: httpx.AsyncClient

    async def talk(self, agent: str, device: Device, word: str) -> str:
        """Have one turn; return what the model was asked last."""
        self.models[agent].script(Answer.of(f"answer {word}"))
        begun = await begin(device, "trip", f"say {word}")
        end = await end_of(device, begun["turn_id"])
        assert end["type"] == "complete", end
        assert device.text("trip", begun["turn_id"]) == f"answer {word}"
        return json.dumps(self.models[agent].requests[-1].body)

    async def move(self, device: Device, to: str) -> None:
        """Move the session; the device attaches again, as a client does after `detached`."""
        start = len(device.frames)
        answer = await self.at_b.post("/api/sessions/trip/move", json={"node": to}, timeout=30)
        assert (answer.status_code, answer.json().get("moved")) == (200, True), answer.text
        await device.wait_for("detached", start=start, session_id="trip")
        attached = await device.attach("trip", after=device.after("trip"))
        assert attached["replay"] == "ok"

    def has_record(self, node: str, word: str) -> bool:
        """Whether the agents' own records at a machine have a word."""
        found = self.homes[node].rglob("*.jsonl")
        return any(word in path.read_text(errors="replace") for path in found)


@asynccontextmanager
async def open_place(url: str) -> AsyncIterator[Place]:
    with short_folder() as folder:
        homes = {name: folder / name / "home" for name in ("a", "b")}
        workspace = folder / "workspace"
        for path in (*homes.values(), workspace):
            path.mkdir(parents=True)
        async with open_standin() as claude, open_openai() as codex:
            config, config_of_b = (agent_tables(home, claude, codex) for home in homes.values())
            opened = open_pair(
                url,
                config=config,
                config_of_b=config_of_b,
                folder=folder,
                arguments=("--workspace", str(workspace)),
            )
            async with opened as nodes, open_http(nodes.b) as at_b:
                yield Place(nodes, homes, {"claude": claude, "codex": codex}, at_b)


def words(heard: str, *names: str) -> list[int]:
    """Return how often the model was asked with each message and each answer."""
    return [heard.count(f"{what} {name}") for name in names for what in ("say", "answer")]


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_real_agent_has_the_history_after_each_move(url: str, agent: str) -> None:
    """There and back: the machine that it was at first has an old record of it, which lacks what was said elsewhere."""
    async with open_place(url) as place, place.nodes.b.device() as device:
        await device.attach("trip", agent=agent, settings={"node": "a"})
        await place.talk(agent, device, "alpha")
        heard = await place.talk(agent, device, "beta")
        assert words(heard, "alpha", "beta") == [1, 1, 1, 0]
        [hub] = hubs_of(place.nodes.a.data).values()
        await place.move(device, "b")
        await wait_processes_gone([hub])
        heard = await place.talk(agent, device, "gamma")
        assert words(heard, "alpha", "beta", "gamma") == [1, 1, 1, 1, 1, 0]
        with trio.fail_after(30):  # noqa: ASYNC912 - waits, or has nothing to wait for
            while not place.has_record("b", "answer gamma"):  # noqa: ASYNC110 - the program writes it
                await trio.sleep(0.05)
        assert not place.has_record("a", "answer gamma")
        heard = await place.talk(agent, device, "delta")
        assert words(heard, "alpha", "beta", "gamma", "delta") == [1, 1, 1, 1, 1, 1, 1, 0]
        await place.move(device, "a")
        heard = await place.talk(agent, device, "epsilon")
        everything = ("alpha", "beta", "gamma", "delta", "epsilon")
        assert words(heard, *everything) == [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
        await place.nodes.a.kill9()
        await place.nodes.a.restart()
        await device.attach("trip", after=device.after("trip"))
        heard = await place.talk(agent, device, "zeta")
        assert words(heard, *everything, "zeta") == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
        assert [one["code"] for one in device.events("trip", "notice")] == [
            "moved",
            "context_given_again",
        ] * 2
