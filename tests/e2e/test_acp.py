"""An agent of the ACP through a whole server: two devices, its own options, and deaths of server, hub and agent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.shared_server import hubs_of, kinds_of_turn, open_http, wait_processes_gone
from tests.standin.acp_rig import agent_command
from tests.support.server import Server, open_server, runs

MAX_GROWTH_BYTES = 64 * 1024 * 1024
"""Seen: the hub 4 MB, the server 13 MB. A copy of each flood would be more."""


@asynccontextmanager
async def open_place(folder: Path, **options: Any) -> AsyncIterator[Server]:
    """A server whose config lies in its data folder; `options` are those of the stand-in agent."""
    workspace, kept, data = folder / "workspace", folder / "kept", folder / "data"
    for path in (workspace, kept, data):
        path.mkdir()
    command = json.dumps(agent_command(kept))
    table = f'[agents.mine]\nkind = "acp"\ncommand = {command}\n'
    if options:
        table += f"[agents.mine.env]\nACP_STANDIN = {json.dumps(json.dumps(options))}\n"
    (data / "config.toml").write_text(table)
    async with open_server(folder, start=False) as server:
        server.arguments = ("--workspace", str(workspace))  # without --config
        await server.start()
        yield server


async def test_an_option_chosen_by_another_device_counts(place: Path, sid: str) -> None:
    async with open_place(place) as server, server.device() as one, server.device() as two:
        await one.attach(sid, agent="mine")
        await two.attach(sid)
        await one.send(sid, "write a.txt hello")
        asked = await two.wait_for("permission_requested", limit_s=30)
        assert asked["options"] == [
            "allow",
            "deny",
            "allow_session",
            "Always allow in this folder",
            "Reject always",
        ]
        assert (asked["kind"], asked["title"], asked["diff"][0]["path"]) == ("edit", "Write a.txt", "a.txt")
        assert "denying" not in asked
        wrong = {"session_id": sid, "request_id": asked["request_id"], "option": "no such option"}
        await two.say("decide", **wrong)
        assert (await two.wait_for("rejected"))["code"] == "bad_setting"
        await two.say("decide", **wrong | {"option": "Always allow in this folder"})
        resolved = await one.wait_for("permission_resolved", start=0)
        assert (resolved["decision"], resolved["option"]) == ("allow", "Always allow in this folder")
        finished = await one.wait_for("tool_finished", start=0)
        assert (finished["output"], finished["name"]) == ("chose folder", "edit")
        assert (await one.wait_for("complete", start=0))["usage"]["input_tokens"] == 7
        assert (place / "workspace" / "a.txt").read_text() == "hello\n"


async def test_mode_and_model_are_changed_and_what_is_offered_is_told(place: Path, sid: str) -> None:
    async with open_place(place) as server, server.device() as one, server.device() as two:
        await one.attach(sid, agent="mine")
        await two.attach(sid)
        await one.ask(sid, "hello")
        offer = (
            await two.wait_for(lambda frame: frame["type"] == "agent" and frame["agent"]["modes"], start=0)
        )["agent"]
        assert [mode["kind"] for mode in offer["modes"]] == ["ask", "plan", "bypass"]
        await two.say("configure", session_id=sid, settings={"permission_mode": "plan", "model": "large"})
        await one.wait_for("session_updated", start=0)
        end = await one.ask(sid, "settings")
        assert one.text(sid, end["turn_id"]) == "mode=plan model=large"
        await two.say("configure", session_id=sid, settings={"permission_mode": "yolo"})
        assert (await two.wait_for("rejected"))["code"] == "bypass_disabled"
        await one.send(sid, "wait for me")
        running = await one.wait_for("message", content="waiting", limit_s=30)
        await one.say("send", session_id=sid, message_id="more", content="more", mode="steer")
        assert (await one.wait_for("rejected"))["code"] == "cannot_steer"
        await two.say("interrupt", session_id=sid)
        await one.wait_for("interrupted", turn_id=running["turn_id"])


async def test_what_the_agent_changes_after_its_turn_comes_at_once(place: Path, sid: str) -> None:
    async with open_place(place) as server, server.device() as device:
        await device.attach(sid, agent="mine")
        end = await device.ask(sid, "later")
        await device.wait_for(
            lambda frame: frame["type"] == "agent" and frame["agent"]["commands"], start=0, limit_s=30
        )
        updated = await device.wait_for("session_updated", start=0, limit_s=30)
        assert (updated["settings"]["permission_mode"], updated["device_id"]) == ("plan", None)
        assert updated["seq"] > end["seq"]


async def test_a_turn_outlives_the_server_a_conversation_its_hub(place: Path, sid: str) -> None:
    async with open_place(place) as server:
        async with server.device() as device:
            await device.attach(sid, agent="mine")
            await device.ask(sid, "one")
            await device.send(sid, "write a.txt hello")
            asked = await device.wait_for("permission_requested", limit_s=30)
        await server.kill9()
        await server.restart()
        async with server.device() as device:
            await device.attach(sid)
            await device.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
            finished = await device.wait_for("complete", start=0, turn_id=asked["turn_id"], limit_s=30)
            kinds = kinds_of_turn(device.events(sid), finished["turn_id"])
            assert kinds[-1] == "d:answered" or "complete" in kinds
            hub = hubs_of(server.data)[sid]
            programs = [one for one in hub.children(recursive=True) if runs(one, "acp_agent")]
            assert programs
            hub.kill()
            await wait_processes_gone([hub, *programs])
            end = await device.ask(sid, "again")
            assert device.text(sid, end["turn_id"]) == "you said again (3)"
            await device.send(sid, "die now")
            error = await device.wait_for("error", limit_s=30)
            assert error["code"] == "agent_exited"
            end = await device.ask(sid, "after")
            assert device.text(sid, end["turn_id"]) == "you said after (5)"


async def test_a_conversation_of_its_own_terminal_is_continued(place: Path) -> None:
    async with (
        open_place(place, list=True, cwd=str(place / "workspace")) as server,
        open_http(server) as http,
    ):
        (place / "kept" / "s1.json").write_text('["one", "two"]')
        (place / "kept" / "s2.json").write_text('["of another"]')
        found = (await http.get("/api/desk/sessions")).json()["sessions"]
        assert [(one["agent"], one["title"], one["session_id"]) for one in found] == [
            ("mine", "Of the desk", None)
        ] * 2
        assert (await http.get("/api/desk/sessions", params={"agent": "nobody"})).json()["sessions"] == []
        opened = await http.post("/api/desk/sessions/mine/s1/open")
        assert opened.status_code == 201
        sid = opened.json()["session_id"]
        assert (await http.post("/api/desk/sessions/mine/s1/open")).status_code == 200
        assert (await http.post("/api/desk/sessions/mine/s-gone/open")).status_code == 404
        said = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
        told = [(one["content"], one["timestamp"]) for one in said]
        at = "2026-01-02T03:04:05.000Z"
        assert told == [("one", at), ("replayed one", at), ("two", at), ("replayed two", at)]
        async with server.device() as device:
            await device.attach(sid)
            end = await device.ask(sid, "three")
            assert device.text(sid, end["turn_id"]) == "you said three (3)"
        found = (await http.get("/api/desk/sessions")).json()["sessions"]
        assert {one["native_id"]: one["session_id"] for one in found} == {"s1": sid, "s2": None}
        # It would load this, and nobody has trusted it.
        (place / "workspace" / "opencode.json").write_text("{}")
        sid = (await http.post("/api/desk/sessions/mine/s2/open")).json()["session_id"]
        assert (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"] == []


async def test_the_status_tells_of_an_agent_that_is_missing(place: Path) -> None:
    async with open_place(place) as server, open_http(server) as http:
        agents = {one["name"]: one for one in (await http.get("/api/status")).json()["agents"]}
        assert (agents["mine"]["kind"], agents["mine"]["ready"]) == ("acp", True)


COMMAND = (
    """shell echo one; until [ -e go ]; do sleep 0.02; done; echo two; until [ -e on ]; do sleep 0.02; done"""
)


def is_printed(text: str) -> Callable[[dict[str, Any]], bool]:
    """Match the frame that shows so much of the output of the one tool that runs."""
    return lambda frame: (
        frame["type"] == "tool_output" and [one["output"] for one in frame["outputs"]] == [text]
    )


async def test_what_a_command_prints_is_seen_after_the_servers_death(place: Path, sid: str) -> None:
    async with open_place(place) as server:
        async with server.device() as one, server.device() as two:
            await one.attach(sid, agent="mine")
            await two.attach(sid)
            await one.send(sid, COMMAND)
            asked = await two.wait_for("permission_requested", limit_s=30)
            await two.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
            for device in (one, two):
                told = await device.wait_for(is_printed("one\n"), start=0, limit_s=30)
                assert "seq" not in told
                assert (told["session_id"], told["turn_id"]) == (sid, asked["turn_id"])
                assert told["outputs"][0]["offset"] == 0
            async with server.device() as three:
                await three.attach(sid)
                await three.wait_for(is_printed("one\n"), start=0)
        await server.kill9()
        await server.restart()
        async with server.device() as one, server.device() as two:
            await one.attach(sid)
            await two.attach(sid)
            for device in (one, two):
                await device.wait_for(is_printed("one\n"), start=0, limit_s=30)
            (place / "workspace" / "go").touch()
            for device in (one, two):
                await device.wait_for(is_printed("one\ntwo\n"), start=0, limit_s=30)
            (place / "workspace" / "on").touch()
            finished = await two.wait_for("tool_finished", start=0, limit_s=30)
            assert finished["output"] == "one\ntwo\n"
            await one.wait_for("complete", start=0, turn_id=asked["turn_id"], limit_s=30)
            async with server.device() as late:
                await late.attach(sid)
                await late.wait_for("complete", start=0)
                assert not [frame for frame in late.frames if frame["type"] == "tool_output"]


async def test_what_a_command_printed_stays_after_its_hubs_death(place: Path, sid: str) -> None:
    async with open_place(place) as server, server.device() as one, server.device() as two:
        await one.attach(sid, agent="mine")
        await two.attach(sid)
        await one.send(sid, COMMAND)
        asked = await two.wait_for("permission_requested", limit_s=30)
        await two.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
        await one.wait_for(is_printed("one\n"), start=0, limit_s=30)
        hub = hubs_of(server.data)[sid]
        below = hub.children(recursive=True)
        hub.kill()
        finished = await two.wait_for("tool_finished", start=0, limit_s=30)
        assert (finished["output"], finished["is_error"]) == ("one\n", True)
        assert (await two.wait_for("error", start=0))["code"] == "agent_exited"
        await wait_processes_gone([hub, *below])


async def test_floods_leave_hub_and_server_small(place: Path, sid: str) -> None:
    async with open_place(place) as server, server.device() as device:
        await device.attach(sid, agent="mine")
        await device.ask(sid, "hello")
        processes = [hubs_of(server.data)[sid], psutil.Process(server.pid)]
        before = [process.memory_info().rss for process in processes]
        for content in ("flood 100000", "long 561000", "strange 3000", "open 3000", "ask_all 100"):
            await device.send(sid, content)
            turn = (await device.wait_for("turn_started", limit_s=60))["turn_id"]
            if content == "ask_all 100":
                await device.wait_for("permission_requested", limit_s=60)
                await device.say("interrupt", session_id=sid)
            await device.wait_for(is_turns_end(turn), start=0, limit_s=120)
            if content == "flood 100000":
                assert device.text(sid, turn) == "".join(f"{number} " for number in range(100_000))
            device.forget()
        grown = [process.memory_info().rss - old for process, old in zip(processes, before, strict=True)]
        assert max(grown) < MAX_GROWTH_BYTES, grown
        end = await device.ask(sid, "after")
        assert device.text(sid, end["turn_id"]) == "you said after (7)"


def is_turns_end(turn_id: str) -> Callable[[dict[str, Any]], bool]:
    """Match the last event of a turn."""
    ends = ("complete", "error", "interrupted")
    return lambda frame: frame["type"] in ends and frame.get("turn_id") == turn_id
