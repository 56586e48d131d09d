"""The real Codex program in a session of a real server, seen from several devices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import psutil
import trio

from tests.e2e.shared_server import hubs_of, kinds_of_turn, story_of
from tests.standin.openai import OpenAIStandIn, codex_env, open_openai, shell
from tests.standin.replies import Answer, Text
from tests.standin.rig import eventually
from tests.support.server import Server, open_server, runs


@attrs.frozen
class Place:
    server: Server
    standin: OpenAIStandIn
    workspace: Path


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Place]:
    """Run a server whose Codex talks to a stand-in, and asks before each command."""
    workspace, codex = folder / "w", folder / "c"
    workspace.mkdir()
    codex.mkdir()
    async with open_openai() as standin:
        env = codex_env(standin.url, str(codex))
        table = "".join(
            f'{name} = "{value}"\n' for name, value in env.items() if name not in ("PATH", "LANG")
        )
        config = f'[agents.codex]\nkind = "codex"\napproval = "untrusted"\nallow_bypass = true\n[agents.codex.env]\n{table}'
        async with open_server(folder, config=config, arguments=("--workspace", str(workspace))) as server:
            yield Place(server, standin, workspace)


def programs(data: Path) -> list[psutil.Process]:
    """Return the Codex programs below the hubs of a data folder."""
    children = [child for hub in hubs_of(data).values() for child in hub.children(recursive=True)]
    return [child for child in children if runs(child, "app-server")]


async def test_two_devices_see_the_same_and_the_second_decides(place: Path) -> None:
    async with open_place(place) as at, at.server.device() as one, at.server.device() as two:
        settings = {"workspace": str(at.workspace)}
        await one.attach("work", agent="codex", device_id="one", settings=settings)
        await two.attach("work", device_id="two")
        at.standin.script(Answer.of("I make it. ", shell("echo roses > poem; cat poem")))
        at.standin.script(Answer.of(Text.of("There ", "it ", "is.")))
        await one.send("work", "write a poem")
        asked = await two.wait_for("permission_requested")
        assert (asked["tool"], asked["input"]["cwd"]) == ("shell", str(at.workspace))
        assert not (at.workspace / "poem").exists()
        await two.say("decide", session_id="work", request_id=asked["request_id"], decision="allow_session")
        for device in (one, two):
            resolved = await device.wait_for("permission_resolved")
            assert (resolved["decision"], resolved["by_device"]) == ("allow_session", "two")
            end = await device.wait_for("complete")
            assert device.text("work", end["turn_id"]) == "I make it. There it is."
            assert end["usage"]["input_tokens"] == 22
            [finished] = device.events("work", "tool_finished")
            assert (finished["name"], finished["output"]) == ("shell", "roses\n")
        assert story_of(one.events("work")).facts == story_of(two.events("work")).facts
        assert kinds_of_turn(one.events("work"), end["turn_id"]) == [
            "user_message",
            "turn_started",
            "d:handed",
            "d:consumed",
            "message",
            "tool_started",
            "permission_requested",
            "permission_resolved",
            "tool_finished",
            "message",
            "d:answered",
            "complete",
        ]
        assert (at.workspace / "poem").read_text() == "roses\n"
        at.standin.script(Answer.of(shell("echo roses > poem; cat poem")))
        assert (await one.ask("work", "again"))["type"] == "complete"
        assert len(one.events("work", "permission_requested")) == 1


async def test_a_killed_server_takes_over_a_turn_and_its_question(place: Path) -> None:
    async with open_place(place) as at:
        gate = trio.Event()
        at.standin.script(Answer.of(Text.of("before ", gate, "after. "), shell("touch made")))
        at.standin.script(Answer.of("done"))
        async with at.server.device() as device:
            settings = {"workspace": str(at.workspace)}
            await device.attach("work", agent="codex", settings=settings)
            await device.send("work", "go")
            await device.wait_for("message")
            after = device.after("work")
        [program] = await trio.to_thread.run_sync(programs, at.server.data)
        await at.server.kill9()
        gate.set()
        await at.server.restart()
        async with at.server.device() as device:
            await device.attach("work", after=after)
            asked = await device.wait_for("permission_requested", start=0)
        await at.server.kill9()
        await at.server.restart()
        async with at.server.device() as device:
            attached = await device.attach("work", after=None)
            assert [waiting["request_id"] for waiting in attached["pending"]] == [asked["request_id"]]
            await device.say("decide", session_id="work", request_id=asked["request_id"], decision="allow")
            end = await device.wait_for("complete")
            assert device.text("work", end["turn_id"]) == "before after. done"
            assert (at.workspace / "made").exists()
            assert program.is_running()
            assert len(at.standin.requests) == 2, "nothing was asked twice"
            end = await device.ask("work", "and now")
            assert "2 user messages; last: and now" in device.text("work", end["turn_id"])


async def test_a_killed_program_and_an_interrupt(place: Path) -> None:
    async with open_place(place) as at, at.server.device() as device:
        settings = {"workspace": str(at.workspace), "permission_mode": "never"}
        await device.attach("work", agent="codex", settings=settings)
        assert (await device.ask("work", "first"))["type"] == "complete"
        at.standin.script(Answer.of(Text.of("half ", trio.Event())))
        await device.send("work", "doomed")
        await device.wait_for("message", content="half ")
        [program] = await trio.to_thread.run_sync(programs, at.server.data)
        program.kill()
        failed = await device.wait_for("error")
        assert failed["code"] == "agent_exited"
        end = await device.ask("work", "third")
        assert end["type"] == "complete"
        assert at.standin.requests[-1].user_texts == ("first", "doomed", "third"), "the same thread"
        at.standin.script(Answer.of(shell("sleep 987")))
        await device.send("work", "wait")
        await device.wait_for("tool_started")
        with trio.fail_after(20):
            await device.say("interrupt", session_id="work")
            await device.wait_for("interrupted")
        [program] = await trio.to_thread.run_sync(programs, at.server.data)
        await eventually(lambda: not [child for child in program.children(True) if child.name() == "sleep"])
        assert (await device.ask("work", "last"))["type"] == "complete"
