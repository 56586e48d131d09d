"""Section 8 with both real programs behind one server: settings, plans and messages for later outlive server and hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.e2e.agents import AGENTS, START_S, Agents, begin, end_of, open_agents
from tests.e2e.shared_server import hubs_of, wait_processes_gone
from tests.e2e.test_settings import configure
from tests.standin.openai_replies import patch
from tests.standin.replies import Answer, ToolUse
from tests.support.device import Device, Json

MODELS = {"claude": "sonnet", "codex": "gpt-5.5"}
PLAN = "# The plan\n1. Write it"


def plan_of(agent: str) -> Answer:
    """Return an answer by which the agent's model shows its plan."""
    if agent == "claude":
        return Answer.of(ToolUse("ExitPlanMode", {"plan": PLAN}))
    return Answer.of(f"<proposed_plan>\n{PLAN}\n</proposed_plan>")


def write_of(agent: str, path: Path) -> Answer:
    """Return an answer by which it writes a file."""
    if agent == "claude":
        return Answer.of(ToolUse("Write", {"file_path": str(path), "content": "x\n"}))
    return Answer.of(patch(f"*** Begin Patch\n*** Add File: {path.name}\n+x\n*** End Patch\n"))


def seen_by_model(place: Agents, agent: str) -> tuple[bool, str]:
    """Return what the newest request shows: whether it is of the model that was chosen, and the effort."""
    body: dict[str, Any] = place.standin(agent).requests[-1].body
    effort = body["output_config"]["effort"] if agent == "claude" else body["reasoning"]["effort"]
    return MODELS[agent] in body["model"], effort


def calls_to_plan(place: Agents, agent: str) -> int:
    """Return how often the newest request, with all that came before, says that the agent is to plan."""
    mark = "Plan mode is active" if agent == "claude" else "<proposed_plan>"
    return str(place.standin(agent).requests[-1].body).count(mark)


@asynccontextmanager
async def attached(place: Agents) -> AsyncIterator[tuple[Device, Device]]:
    """Attach two devices to the session of each agent, which has the agent's name; the second only watches."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(place.server.device())
        two = await stack.enter_async_context(place.server.device())
        for agent in AGENTS:
            await one.attach(agent, agent=agent, device_id="one")
            await two.attach(agent, device_id="two")
        yield one, two


def attach_of(device: Device, agent: str) -> Json:
    """Return the answer to the device's attach."""
    return next(one for one in device.frames if one["type"] == "attached" and one["session_id"] == agent)


async def kill_hubs(place: Agents) -> None:
    """Kill both agents' hubs, with all below them."""
    hubs = list(hubs_of(place.server.data).values())
    below = [child for hub in hubs for child in hub.children(recursive=True)]
    for hub in hubs:
        hub.kill()
    await wait_processes_gone([*hubs, *below])


async def test_what_was_chosen_and_approved_outlives_server_and_hub(tmp_path: Path) -> None:
    async with open_agents(tmp_path) as place:
        server = place.server
        paths = {agent: place.workspace / f"{agent}.txt" for agent in AGENTS}
        turns: dict[str, str] = {}
        calls: dict[str, int] = {}
        async with attached(place) as (one, _):
            for agent in AGENTS:
                await configure(one, agent, model=MODELS[agent], permission_mode="plan", effort="low")
            await server.kill9()  # settings that no program has heard of
        await server.restart()
        async with attached(place) as (one, two):
            for agent in AGENTS:
                place.standin(agent).script(
                    plan_of(agent), write_of(agent, paths[agent]), Answer.of("written")
                )
                turns[agent] = (await begin(one, agent, "plan it"))["turn_id"]
            for agent in AGENTS:
                asked = await two.wait_for("permission_requested", session_id=agent, start=0, limit_s=START_S)
                # Claude Code shows the plan of its plan file, which this model has not written.
                assert (asked["kind"], PLAN in asked["input"].get("plan", PLAN)) == ("plan", True)
                assert seen_by_model(place, agent) == (True, "low")
                assert calls_to_plan(place, agent) > 0
            await server.kill9()  # while the plan waits
        await server.restart()
        async with attached(place) as (one, two):
            for agent in AGENTS:
                (asked,) = attach_of(two, agent)["pending"]
                decide = {"request_id": asked["request_id"], "decision": "allow", "mode": "acceptEdits"}
                await two.say("decide", session_id=agent, **decide)
                resolved = await one.wait_for("permission_resolved", session_id=agent, start=0)
                assert (resolved["by_device"], resolved["mode"]) == ("two", "acceptEdits")
            await server.kill9()  # the hubs may have the answer, or not yet
        await server.restart()
        async with attached(place) as (one, _):
            for agent in AGENTS:
                assert (await end_of(one, turns[agent]))["type"] == "complete"
                assert attach_of(one, agent)["settings"]["permission_mode"] == "acceptEdits"
                tools = [event["name"] for event in one.events(agent, "tool_started")]
                assert [name for name in tools if name in ("Write", "apply_patch")] == tools[-1:], tools
                assert len(one.events(agent, "permission_requested")) == 1
                assert paths[agent].read_text() == "x\n"
                await configure(one, agent, effort="high")
            await kill_hubs(place)  # the change may have come to nobody
            at = (datetime.now(UTC) + timedelta(seconds=2)).isoformat(timespec="milliseconds")
            for agent in AGENTS:
                assert (await one.send(agent, "later", message_id="l", not_before=at))["type"] == "accepted"
            await server.kill9()
        await server.restart()
        async with attached(place) as (one, two):
            for agent in AGENTS:
                began = await one.wait_for(
                    "turn_started", session_id=agent, message_id="l", start=0, limit_s=START_S
                )
                assert datetime.fromisoformat(began["timestamp"]) >= datetime.fromisoformat(at)
                assert (await end_of(one, began["turn_id"]))["type"] == "complete"
                assert seen_by_model(place, agent) == (True, "high")
                assert attach_of(two, agent)["settings"]["permission_mode"] == "acceptEdits"
                calls[agent] = calls_to_plan(place, agent)
                assert len([e for e in one.events(agent, "turn_started") if e["message_id"] == "l"]) == 1
                await configure(two, agent, permission_mode="plan")
                place.standin(agent).script(plan_of(agent))
                turns[agent] = (await begin(two, agent, "plan again"))["turn_id"]
            for agent in AGENTS:
                await one.wait_for(
                    "permission_requested", session_id=agent, turn_id=turns[agent], start=0, limit_s=START_S
                )
            await kill_hubs(place)  # while the plan waits
            for agent in AGENTS:
                end = await end_of(two, turns[agent])
                assert (end["type"], end["code"]) == ("error", "agent_exited")
                resolved = await one.wait_for(
                    "permission_resolved", session_id=agent, turn_id=turns[agent], start=0
                )
                assert resolved["decision"] == "cancelled"
                turns[agent] = (await begin(one, agent, "go on"))["turn_id"]
            for agent in AGENTS:
                assert (await end_of(one, turns[agent]))["type"] == "complete"
                assert seen_by_model(place, agent) == (True, "high")
                assert calls_to_plan(place, agent) > calls[agent]
                assert len(one.events(agent, "permission_requested")) == 2
