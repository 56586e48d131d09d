"""The real opencode behind a whole server: a day's work on two devices, and deaths of server, hub and agent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from builderos.cli import main
from tests.e2e.agents import begin
from tests.e2e.shared_server import hubs_of, kinds_of_turn, open_http, wait_processes_gone
from tests.real_agents.rig import OPENCODE, env_of, opencode_home
from tests.standin.anthropic import StandIn, open_standin
from tests.standin.replies import Answer, Hang, Text, ToolUse
from tests.standin.rig import eventually
from tests.support.device import Device, Json
from tests.support.server import Server, open_server

START_S = 120.0
"""opencode is there in 2 s; on a busy machine in many more."""


def config_of(home: Path, url: str) -> str:
    """Return a config whose agent `opencode` talks to the stand-in at `url`."""
    env = "".join(f"{name} = {json.dumps(value)}\n" for name, value in opencode_home(home, url).items())
    table = (
        f'[agents.opencode]\nkind = "acp"\ncommand = [{json.dumps(str(OPENCODE))}, "acp"]\nstart_s = 110\n'
    )
    return f"{table}[agents.opencode.env]\n{env}"


@asynccontextmanager
async def open_day(folder: Path) -> AsyncIterator[tuple[StandIn, Server, Device, Device, Path]]:
    """Open a server with opencode and two devices on its session `day`. The last part is the workspace."""
    workspace = folder / "workspace"
    workspace.mkdir()
    async with open_standin() as standin:
        config = config_of(folder / "agent", standin.url)
        async with (
            open_server(folder, config=config, arguments=("--workspace", str(workspace))) as server,
            server.device() as one,
            server.device() as two,
        ):
            await one.attach("day", agent="opencode")
            await two.attach("day")
            yield standin, server, one, two, workspace


async def test_an_answer_outlives_the_server_and_its_context_the_hub(tmp_path: Path) -> None:
    async with open_day(tmp_path) as (standin, server, one, _two, workspace):
        write = ToolUse("write", {"filePath": str(workspace / "a.txt"), "content": "hello\n"})
        later = trio.Event()
        standin.script(Answer.of(write), Answer.of(Text.of("it is ", later, "written")))
        turn = (await begin(one, "day", "MARKER-ONE write it"))["turn_id"]
        asked = await one.wait_for("permission_requested", limit_s=START_S)
        await server.kill9()
        await server.restart()
        async with server.device() as one:
            await one.attach("day")
            await one.say("decide", session_id="day", request_id=asked["request_id"], decision="allow")
            await one.wait_for("message", start=0, turn_id=turn, limit_s=START_S)
        await server.kill9()  # in the middle of the answer's words
        later.set()
        await server.restart()
        async with server.device() as one, server.device() as two:
            for device in (one, two):
                await device.attach("day")
                end = await device.wait_for(is_end, start=0, turn_id=turn, limit_s=START_S)
                assert (end["type"], device.text("day", turn)) == ("complete", "it is written")
                assert end["text_sha256"] == sha256(b"it is written").hexdigest()
            assert (workspace / "a.txt").read_text() == "hello\n"

            count = len(standin.requests)
            standin.script(Hang())
            turn = (await begin(one, "day", "hang"))["turn_id"]
            await eventually(lambda: len(standin.requests) > count)
            hub = hubs_of(server.data)["day"]
            below = hub.children(recursive=True)
            hub.kill()
            for device in (one, two):
                end = await device.wait_for(is_end, start=0, turn_id=turn, limit_s=START_S)
                assert (end["type"], end["code"]) == ("error", "agent_exited")
            await wait_processes_gone([hub, *below])
            await end_of_turn(two, "MARKER-TWO")
            assert {"MARKER-ONE", "MARKER-TWO"} <= set(standin.requests[-1].markers)


async def test_a_tool_a_question_and_a_diff_on_two_devices(tmp_path: Path) -> None:
    async with open_day(tmp_path) as (standin, _, one, two, workspace):
        path = workspace / "a.txt"
        write = ToolUse("write", {"filePath": str(path), "content": "hello\n"})
        # After a denial opencode asks its model nothing more.
        for decision, answers in (("deny", ()), ("allow", (Answer.of("it is written"),))):
            standin.script(Answer.of(write), *answers)
            sent = await begin(one, "day", f"write it, I say {decision}")
            turn = sent["turn_id"]
            asked = await two.wait_for("permission_requested", start=0, turn_id=turn, limit_s=START_S)
            assert (asked["kind"], asked["title"]) == ("edit", "Edit a.txt")
            assert asked["options"][:3] == ["allow", "deny", "allow_session"]
            (diff,) = asked["diff"]
            assert (diff["path"], diff["added"], diff["patch"].endswith("+hello\n")) == ("a.txt", 1, True)
            await two.say("decide", session_id="day", request_id=asked["request_id"], decision=decision)
            resolved = await one.wait_for("permission_resolved", start=0, turn_id=turn)
            assert resolved["decision"] == decision
            for device in (one, two):
                finished = await device.wait_for("tool_finished", start=0, turn_id=turn, limit_s=START_S)
                assert (finished["name"], finished["is_error"]) == ("edit", decision == "deny")
                await device.wait_for(is_end, start=0, turn_id=turn, limit_s=START_S)
            assert path.exists() is (decision == "allow")
        assert finished["diff"][0]["patch"].endswith("+hello\n")
        assert one.text("day", turn) == two.text("day", turn) == "it is written"


async def test_mode_and_model_are_changed_by_the_other_device(tmp_path: Path) -> None:
    async with open_day(tmp_path) as (standin, _, one, two, _workspace):
        await end_of_turn(one, "hello")
        offer = await two.wait_for(lambda told: told["type"] == "agent" and told["agent"]["modes"], start=0)
        kinds = {mode["id"]: mode["kind"] for mode in offer["agent"]["modes"]}
        assert kinds == {"build": "ask", "plan": "plan"}
        assert {"standin/small", "standin/large"} <= {model["id"] for model in offer["agent"]["models"]}
        settings = {"permission_mode": "plan", "model": "standin/large"}
        await two.say("configure", session_id="day", settings=settings)
        updated = await one.wait_for("session_updated", start=0)
        assert {name: updated["settings"][name] for name in settings} == settings
        await end_of_turn(one, "plan it")
        assert standin.requests[-1].model == "large"
        assert "plan mode" in json.dumps(standin.requests[-1].body).lower()
        await two.say("configure", session_id="day", settings={"model": "no/such"})
        assert (await two.wait_for("rejected"))["code"] == "bad_setting"
        await two.say("configure", session_id="day", settings={"permission_mode": "build", "model": None})
        await end_of_turn(one, "do it")
        assert standin.requests[-1].model == "small"
        notices = [told["code"] for told in one.events("day", "notice")]
        assert "setting_failed" not in notices


async def test_the_other_device_stops_a_turn_and_the_next_one_works(tmp_path: Path) -> None:
    async with open_day(tmp_path) as (standin, _, one, two, _workspace):
        await end_of_turn(one, "MARKER-ONE")
        count = len(standin.requests)
        standin.script(Hang())
        turn = (await begin(one, "day", "hang"))["turn_id"]
        await eventually(lambda: len(standin.requests) > count)
        await two.say("interrupt", session_id="day")
        for device in (one, two):
            stopped = await device.wait_for(is_end, start=0, turn_id=turn, limit_s=START_S)
            assert stopped["type"] == "interrupted"
        turn = await end_of_turn(one, "MARKER-TWO")
        assert "MARKER-ONE" in standin.requests[-1].markers
        assert kinds_of_turn(two.events("day"), turn)[-1] in ("complete", "d:answered")


async def test_what_a_command_prints_is_seen_while_it_runs(tmp_path: Path) -> None:
    async with open_day(tmp_path) as (standin, server, one, two, workspace):
        command = (
            "echo one; until [ -e go ]; do sleep 0.1; done; echo two; until [ -e on ]; do sleep 0.1; done"
        )
        run = ToolUse("bash", {"command": command, "description": "Run it", "timeout": 600_000})
        standin.script(Answer.of(run), Answer.of("it ran"))
        turn = (await begin(one, "day", "run it"))["turn_id"]
        asked = await two.wait_for("permission_requested", start=0, limit_s=START_S)
        assert asked["kind"] == "command"
        await one.say("decide", session_id="day", request_id=asked["request_id"], decision="allow")
        for device in (one, two):
            await device.wait_for(is_printed("one"), start=0, limit_s=START_S)
        async with server.device() as three:
            await three.attach("day")
            await three.wait_for(is_printed("one"), start=0)
        (workspace / "go").touch()
        for device in (one, two):
            await device.wait_for(is_printed("one\ntwo"), start=0, limit_s=START_S)
        (workspace / "on").touch()
        for device in (one, two):
            finished = await device.wait_for("tool_finished", start=0, turn_id=turn, limit_s=START_S)
            assert finished["output"].startswith("one\ntwo")
            await device.wait_for("complete", start=0, turn_id=turn, limit_s=START_S)


async def test_the_agents_death_ends_the_turn_and_not_its_context(tmp_path: Path) -> None:
    async with open_day(tmp_path) as (standin, server, one, two, _workspace):
        await end_of_turn(one, "MARKER-ONE")
        count = len(standin.requests)
        standin.script(Hang())
        turn = (await begin(one, "day", "hang"))["turn_id"]
        await eventually(lambda: len(standin.requests) > count)
        below = hubs_of(server.data)["day"].children(recursive=True)
        assert below
        for process in below:
            process.kill()
        for device in (one, two):
            ended = await device.wait_for(is_end, start=0, turn_id=turn, limit_s=START_S)
            assert (ended["type"], ended["code"]) == ("error", "agent_exited")
        await end_of_turn(two, "MARKER-TWO")
        assert {"MARKER-ONE", "MARKER-TWO"} <= set(standin.requests[-1].markers)


def is_end(frame: Json) -> bool:
    """Match the last event of a turn."""
    return frame["type"] in ("complete", "error", "interrupted") and "seq" in frame


def is_printed(text: str) -> Callable[[Json], bool]:
    """Match a frame that shows so much of the output of the one tool that runs."""
    return lambda frame: (
        frame["type"] == "tool_output" and [one["output"].strip() for one in frame["outputs"]] == [text]
    )


async def end_of_turn(device: Device, content: str) -> str:
    """Send a message, wait for the good end of its turn and return the turn's id."""
    sent = await begin(device, "day", content)
    ended = await device.wait_for(is_end, start=0, turn_id=sent["turn_id"], limit_s=START_S)
    assert ended["type"] == "complete", ended
    return str(sent["turn_id"])


async def test_a_session_of_its_own_terminal_is_opened_and_continued(tmp_path: Path) -> None:
    home, workspace = tmp_path / "agent", tmp_path / "workspace"
    workspace.mkdir()
    async with open_standin() as standin:
        config = config_of(home, standin.url)
        arguments = ("--workspace", str(workspace))
        async with open_server(tmp_path, config=config, arguments=arguments) as server:
            standin.script(Answer.of("MARKER-ANSWER"))
            with trio.fail_after(START_S):
                await run_at_the_desk(home, workspace, "MARKER-DESK")
            async with open_http(server) as http, server.device() as one, server.device() as two:
                asked = {"agent": "opencode"}
                page = await http.get("/api/desk/sessions", params=asked, timeout=START_S)
                (listed,) = page.json()["sessions"]
                assert (listed["agent"], listed["workspace"]) == ("opencode", str(workspace))
                path = f"/api/desk/sessions/opencode/{listed['native_id']}/open"
                sid = (await http.post(path, timeout=START_S)).json()["session_id"]
                said = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
                assert [one["content"].strip('"') for one in said] == ["MARKER-DESK", "MARKER-ANSWER"]
                for device in (one, two):
                    await device.attach(sid)
                sent = await begin(one, sid, "MARKER-PHONE")
                await two.wait_for("complete", start=0, turn_id=sent["turn_id"], limit_s=START_S)
                assert {"MARKER-DESK", "MARKER-PHONE"} <= set(standin.requests[-1].markers)
                (listed,) = (await http.get("/api/desk/sessions", params=asked, timeout=START_S)).json()[
                    "sessions"
                ]
                assert listed["session_id"] == sid


async def run_at_the_desk(home: Path, workspace: Path, words: str) -> None:
    """Run opencode's own program as a person would, with one message."""
    env = {**env_of(home), "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    await trio.run_process([str(OPENCODE), "run", words], env=env, cwd=workspace, capture_stdout=True)


def test_the_check_tells_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config_of(tmp_path / "agent", "http://127.0.0.1:9"))
    assert main(["agents", "check", "opencode", "--config", str(path)]) == 0
    told = capsys.readouterr().out
    assert "1.18.33" in told
    assert "modes: build, plan" in told
