"""The real Claude Code program behind a real server, against the stand-in for its model service.

Each test has a server and a stand-in of its own; what can be seen in one conversation is one test, since a
program takes seconds to start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import psutil
import trio

from tests.e2e.shared_server import (
    all_events,
    hubs_of,
    kinds_of_turn,
    open_http,
    story_of,
    story_up_to,
    wait_processes_gone,
)
from tests.standin.anthropic import StandIn, open_standin, standin_env
from tests.standin.replies import Answer, Text, ToolUse
from tests.standin.rig import eventually
from tests.support.device import Device, Json
from tests.support.server import Server, open_server, processes_of, runs

START_S = 30.0
"""The first turn of a session starts the program: two seconds, on a busy machine many more."""

CONFIG = """
[agents.claude]
kind = "claude"
env = { ANTHROPIC_API_KEY = "standin-key" }
[agents.free]
kind = "claude"
permission_mode = "bypassPermissions"
env = { ANTHROPIC_API_KEY = "standin-key" }
[agents.bold]
kind = "claude"
allow_bypass = true
env = { ANTHROPIC_API_KEY = "standin-key" }
[agents.stranger]
kind = "claude"
"""

QUESTION = {
    "question": "Which colour?",
    "header": "Colour",
    "multiSelect": False,
    "options": [{"label": "Blue", "description": "calm"}, {"label": "Red", "description": "loud"}],
}

DONE_TURN = ["user_message", "turn_started", "d:handed", "d:consumed", "message", "d:answered", "complete"]


@attrs.define(eq=False)
class Place:
    """A server whose agents talk to the stand-in, and where they live and work."""

    server: Server
    standin: StandIn
    home: Path
    workspace: Path

    async def journal(self, sid: str) -> list[Json]:
        async with open_http(self.server) as http:
            return await all_events(http, sid)


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Place]:
    workspace, home = folder / "workspace", folder / "home"
    workspace.mkdir()
    async with open_standin() as standin:
        environment = standin_env(standin.url, str(home))
        del environment["ANTHROPIC_API_KEY"]
        async with open_server(
            folder, config=CONFIG, environment=environment, arguments=("--workspace", str(workspace))
        ) as server:
            yield Place(server, standin, home, workspace)


async def ask(device: Device, sid: str, content: str) -> Json:
    """Send a message and return the last event of its turn; `Device.ask` has less patience."""
    start = len(device.frames)
    assert (await device.send(sid, content))["type"] == "accepted"
    return await device.wait_for(
        lambda frame: frame["type"] in ("complete", "error", "interrupted") and frame["session_id"] == sid,
        start=start,
        limit_s=START_S,
    )


async def test_two_devices_context_instructions_and_a_restart(place: Path) -> None:
    async with open_place(place) as it:
        (it.workspace / "CLAUDE.md").write_text("MARKER-WORKSPACE\n")
        (it.home / ".claude").mkdir()
        (it.home / ".claude" / "CLAUDE.md").write_text("MARKER-HOME\n")
        async with it.server.device() as one, it.server.device() as two:
            await one.attach("trip", agent="claude")
            await two.attach("trip")
            first = await ask(one, "trip", "words 200")
            await two.wait_for("complete", turn_id=first["turn_id"], start=0)
            assert story_of(one.events("trip")) == story_of(two.events("trip"))
            assert one.text("trip", first["turn_id"]) == "".join(f"w{i} " for i in range(200))
            assert len(two.events("trip", "message")) > 1
            assert kinds_of_turn(two.events("trip"), first["turn_id"]) == DONE_TURN
            assert it.standin.requests[0].markers == ("MARKER-HOME", "MARKER-WORKSPACE")

            second = await ask(two, "trip", "and now?")
            assert it.standin.requests[1].user_texts == ("words 200", "and now?")
            assert it.standin.requests[1].assistant_texts == (one.text("trip", first["turn_id"]),)
            assert set(second["usage"]) == {
                "input_tokens",
                "output_tokens",
                "cached_input_tokens",
                "cost_usd",
            }
            before = two.after("trip")
            agents = hubs_of(it.server.data)["trip"].children(recursive=True)
            await it.server.terminate()
        await wait_processes_gone(agents)
        await it.server.restart()
        async with it.server.device() as one:
            assert (await one.attach("trip", after=before))["replay"] == "ok"
            assert (await ask(one, "trip", "after the restart"))["type"] == "complete"
            assert it.standin.requests[2].user_texts == ("words 200", "and now?", "after the restart")
            assert not one.events("trip", "notice")


async def test_a_second_device_decides_and_interrupts(place: Path) -> None:
    async with open_place(place) as it:
        bash = {"command": "touch made.txt && echo yes", "description": "x"}
        async with it.server.device() as one, it.server.device() as two:
            await one.attach("trip", agent="claude", device_id="phone")
            await two.attach("trip", device_id="mac")

            it.standin.script(Answer.of(ToolUse("Bash", bash)), Answer.of("done"))
            await one.send("trip", "make it")
            asked = await two.wait_for("permission_requested", limit_s=START_S)
            assert (asked["tool"], asked["input"]["command"]) == ("Bash", bash["command"])
            assert not (it.workspace / "made.txt").exists()
            await two.say("decide", session_id="trip", request_id=asked["request_id"], decision="allow")
            resolved = await one.wait_for("permission_resolved", start=0)
            assert (resolved["decision"], resolved["by_device"]) == ("allow", "mac")
            await one.wait_for("complete", start=0)
            (finished,) = one.events("trip", "tool_finished")
            assert (finished["name"], finished["output"], finished["is_error"]) == ("Bash", "yes", False)
            assert (it.workspace / "made.txt").exists()

            it.standin.script(
                Answer.of(ToolUse("AskUserQuestion", {"questions": [QUESTION]})), Answer.of("ok")
            )
            await one.send("trip", "paint it")
            asked = await two.wait_for("permission_requested")
            assert [question["question"] for question in asked["questions"]] == ["Which colour?"]
            answers = {"Which colour?": "Blue"}
            await two.say(
                "decide",
                session_id="trip",
                request_id=asked["request_id"],
                decision="allow",
                answers=answers,
            )
            assert (await one.wait_for("permission_resolved"))["answers"] == answers
            await one.wait_for("complete")
            assert '"Which colour?"="Blue"' in it.standin.requests[-1].tool_results[-1]

            it.standin.script(Answer.of(Text.of("begun ", trio.Event(), "never")))
            await one.send("trip", "go on")
            await two.wait_for("message", content="begun ")
            with trio.fail_after(20):
                await two.say("interrupt", session_id="trip")
                stopped = await one.wait_for("interrupted", start=0)
            assert stopped["by_device"] == "mac"
            assert one.text("trip", stopped["turn_id"]) == "begun "

            end = await ask(one, "trip", "and then?")
            assert end["type"] == "complete"
            assert "last: and then?" in one.text("trip", end["turn_id"])
            await two.wait_for("complete", turn_id=end["turn_id"], start=0)
            events = await it.journal("trip")
            for each in (one, two):
                assert await story_up_to(each, "trip", events[-1]["seq"]) == story_of(events)


async def test_a_session_has_its_own_model_and_permission_mode(place: Path) -> None:
    async with open_place(place) as it, it.server.device() as device:
        settings = {"model": "claude-haiku-4-5", "permission_mode": "bypassPermissions"}
        await device.say("attach", session_id="trip", agent="claude", settings=settings)
        assert (await device.wait_for("rejected"))["code"] == "bypass_disabled"
        attached = await device.attach("trip", agent="bold", settings=settings)
        assert attached["settings"].items() >= settings.items()
        it.standin.script(Answer.of(ToolUse("Bash", {"command": "touch made", "description": "x"})))
        assert (await ask(device, "trip", "make it"))["type"] == "complete"
        assert (it.workspace / "made").exists()
        assert not device.events("trip", "permission_requested")
        assert it.standin.requests[0].model.startswith("claude-haiku-4-5")


async def test_kill_9_of_the_server_in_mid_turn(place: Path) -> None:
    """The program talks on while no server is there; the next one has it all, and the warm program."""
    async with open_place(place) as it:
        gates = [trio.Event() for _ in range(3)]
        it.standin.script(Answer.of(Text.of("one ", gates[0], "two ", gates[1], "three ", gates[2], "four")))
        async with it.server.device() as device, it.server.device() as other:
            await device.attach("trip", agent="claude")
            await other.attach("trip")
            await device.send("trip", "count")
            await device.wait_for("message", content="one ", limit_s=START_S)
            await other.wait_for("message", content="one ")
            hub = hubs_of(it.server.data)["trip"]
            await it.server.kill9()
            gates[0].set()
            seen, after = device.events("trip"), device.after("trip")
        gates[1].set()
        await it.server.restart()
        async with it.server.device() as device, it.server.device() as late:
            assert (await device.attach("trip", after=after))["replay"] == "ok"
            await late.attach("trip")
            await device.wait_for(
                lambda frame: frame["type"] == "message" and frame["content"].endswith("three "), start=0
            )
            gates[2].set()
            end = await device.wait_for("complete")
            await late.wait_for("complete", start=0)
            events = await it.journal("trip")
            whole, last = story_of(events), events[-1]["seq"]
            assert whole.text(end["turn_id"]) == "one two three four"
            assert await story_up_to(device, "trip", last, seen=seen) == whole
            assert await story_up_to(late, "trip", last) == whole
            assert hubs_of(it.server.data)["trip"] == hub
            assert (await ask(device, "trip", "next"))["type"] == "complete"
            assert it.standin.requests[-1].user_texts == ("count", "next")
            assert len(it.standin.requests) == 2, "the prompt went to the model once"


async def test_not_signed_in_is_one_clear_error(place: Path) -> None:
    async with open_place(place) as it, it.server.device() as device:
        await device.attach("trip", agent="stranger")
        end = await ask(device, "trip", "hello")
        assert (end["type"], end["code"], end["retryable"]) == ("error", "not_signed_in", False)
        assert "/login" in end["content"]
        kinds = kinds_of_turn(device.events("trip"), end["turn_id"])
        assert kinds[-2:] == ["d:failed", "error"]
        assert "message" not in kinds
        assert it.standin.requests == []


async def start_commands(it: Place, device: Device, sid: str) -> list[psutil.Process]:
    """Begin a turn whose tool runs one command, and another in a session of its own; return all processes."""
    command = "setsid sh -c 'echo $$ > away; exec sleep 300' & echo $$ > here; sleep 300"
    it.standin.script(Answer.of(ToolUse("Bash", {"command": command, "description": "x"})))
    files = [it.workspace / "away", it.workspace / "here"]
    for file in files:
        file.unlink(missing_ok=True)
    await device.send(sid, "run it")
    await eventually(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files))
    commands = [psutil.Process(int(file.read_text())) for file in files]
    hub = hubs_of(it.server.data)[sid]
    agents = [child for child in hub.children() if runs(child, "claude")]
    assert agents
    return [*commands, *agents, hub]


async def test_kill_9_of_the_hub_and_sigint_leave_no_process(place: Path) -> None:
    async with open_place(place) as it:
        async with it.server.device() as device:
            await device.attach("trip", agent="free")
            processes = await start_commands(it, device, "trip")
            processes[-1].kill()
            end = await device.wait_for("error")
            assert end["code"] == "agent_exited"
            await wait_processes_gone(processes)

            assert (await ask(device, "trip", "next"))["type"] == "complete"
            assert it.standin.requests[-1].user_texts[0] == "run it"

            processes = await start_commands(it, device, "trip")
            assert await it.server.interrupt() == 0
            await wait_processes_gone(processes, 1)
        assert await trio.to_thread.run_sync(processes_of, it.server.data) == []
        await it.server.restart()
        async with it.server.device() as device:
            await device.attach("trip")
            await device.wait_for(
                lambda frame: frame["type"] == "error" and frame["turn_id"] != end["turn_id"], start=0
            )
            assert (await ask(device, "trip", "again"))["type"] == "complete"
