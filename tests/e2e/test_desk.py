"""Sessions of the person's own terminal: real programs in a pty, a real server, stand-ins for the model services."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import trio

from builderos.commands.resume import program_of
from tests.e2e.agents import START_S, Agents, begin, end_of, open_agents
from tests.e2e.desk import CLAUDE, READY, READY_ASKING, claude_env, install_hook, listed_at_desk
from tests.e2e.shared_server import all_events, open_http
from tests.standin.openai import codex_env
from tests.standin.rig import POLL_S
from tests.support.device import Json
from tests.support.server import ROOT
from tests.support.tui import claude_home, open_tui

CODEX = str(program_of("codex", None))


async def desk_list(agents: Agents, **query: str) -> list[Json]:
    async with open_http(agents.server) as http:
        answer = await http.get("/api/desk/sessions", params=query)
        assert answer.status_code == 200, answer.text
        found: list[Json] = answer.json()["sessions"]
        return found


async def test_claude_session_of_a_terminal_is_followed_and_given_back(place: Path) -> None:
    async with open_agents(place) as agents, open_http(agents.server) as http:
        claude_home(agents.home, agents.workspace)
        with open_tui([CLAUDE], agents.workspace, claude_env(agents)) as tui:
            await tui.wait(READY)
            await tui.say("hello from the desk")
            await tui.wait("1 user messages; last: hello from the desk")
            entry = await listed_at_desk(
                http, q="HELLO desk", agent="claude", workspace=str(agents.workspace)
            )
            assert (entry["first_message"], entry["session_id"]) == ("hello from the desk", None)
            assert entry["where"]["pid"] == tui.pid
            path = f"/api/desk/sessions/claude/{entry['native_id']}/open"
            made, again = await http.post(path), await http.post(path)
            sid = made.json()["session_id"]
            assert (made.status_code, again.status_code, again.json()) == (201, 200, made.json())
            assert [one["session_id"] for one in await desk_list(agents)] == [sid]
            async with agents.server.device() as phone:
                assert (await phone.attach(sid))["title"] == "hello from the desk"
                refused = await phone.send(sid, "from the phone")
                assert (refused["code"], refused["where"]["pid"]) == ("open_elsewhere", tui.pid)
                await tui.say("second at the desk")
                said = await phone.wait_for("user_message", content="second at the desk")
                assert said["device_id"] == "desk"
                assert (await end_of(phone, said["turn_id"]))["type"] == "complete"
                assert "2 user messages" in phone.text(sid, said["turn_id"])
                start = len(phone.frames)
                await tui.say("/rename called-at-the-desk")
                await phone.wait_for("session_updated", title="called-at-the-desk", start=start)
                start, place_now = len(phone.frames), tui.place
                await tui.say("/model sonnet")
                await tui.wait("Yes, switch", since=place_now)
                tui.press("\r")
                await tui.wait("Set model to", since=place_now)
                await tui.say("third at the desk")
                said = await phone.wait_for("user_message", content="third at the desk", start=start)
                await end_of(phone, said["turn_id"])
                chosen = await phone.wait_for("session_updated", start=start)
                assert "sonnet" in chosen["settings"]["model"]
                start = len(phone.frames)
                await phone.say("take_over", session_id=sid)
                ending = await phone.wait_for("session_updated", start=start)
                assert ending["where"]["ending_by"] == ending["device_id"]
                await phone.wait_for("session_changed", where=None, start=start)
                mine = await begin(phone, sid, "from the phone")
                ended = await end_of(phone, mine["turn_id"])
                assert ended["type"] == "complete", ended
                assert "4 user messages; last: from the phone" in phone.text(sid, mine["turn_id"])
                assert "sonnet" in agents.claude.requests[-1].model
                named = [one["settings"]["model"] for one in phone.frames if "settings" in one]
                assert named[-1] == "sonnet", "as the list of models calls it"
                await phone.say("rename", session_id=sid, title="called by phone")
                with trio.fail_after(START_S):
                    while [one["title"] for one in await desk_list(agents)] != ["called by phone"]:  # noqa: ASYNC110
                        await trio.sleep(POLL_S)
                # The way back: our program ends first, and the terminal shows all.
                command = [
                    sys.executable,
                    "-m",
                    "builderos",
                    "resume",
                    sid,
                    "--data",
                    str(agents.server.data),
                ]
                env = claude_env(agents) | {"PYTHONPATH": str(ROOT)}
                with open_tui(command, agents.workspace, env) as back:
                    await back.wait("4 user messages; last: from the phone")
                    await back.wait(READY)
                    await back.say("back at the desk")
                    said = await phone.wait_for("user_message", content="back at the desk", start=start)
                    await end_of(phone, said["turn_id"])
                    assert "5 user messages" in phone.text(sid, said["turn_id"])
                    back.end(signal.SIGKILL)  # leaves its entry in the registry
                last = await begin(phone, sid, "and once more")
                await end_of(phone, last["turn_id"])
                assert "6 user messages; last: and once more" in phone.text(sid, last["turn_id"])
        times = [one["timestamp"] for one in await all_events(http, sid) if one["type"] == "user_message"]
        assert times == sorted(times)
        assert [one["where"] for one in await desk_list(agents)] == [None]


async def test_question_of_a_terminal_is_answered_on_either_side(place: Path) -> None:
    async with (
        open_agents(place) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        claude_home(agents.home, agents.workspace)
        env = claude_env(agents)
        await install_hook(agents)
        await phone.say("watch_sessions")
        with open_tui([CLAUDE, "--permission-mode", "default"], agents.workspace, env) as tui:
            await tui.wait(READY_ASKING)
            await tui.say("bash touch made.txt")
            listed = await phone.wait_for("session_changed", pending=1, limit_s=START_S)
            sid = listed["session_id"]
            (asked,) = (await phone.attach(sid))["pending"]
            assert (asked["tool"], asked["kind"]) == ("Bash", "command")
            assert asked["input"]["command"] == "touch made.txt"
            await tui.wait("Do you want to proceed?")
            assert not (agents.workspace / "made.txt").exists()
            await phone.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
            resolved = await phone.wait_for("permission_resolved", request_id=asked["request_id"])
            assert resolved["decision"] == "allow"
            await tui.wait("standin: the tool said")
            assert (agents.workspace / "made.txt").exists()

            start = len(phone.frames)
            await tui.say("bash touch second.txt")
            asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
            answer = {"decision": "deny", "note": "not from my phone"}
            await phone.say("decide", session_id=sid, request_id=asked["request_id"], **answer)
            await phone.wait_for("permission_resolved", request_id=asked["request_id"], start=start)
            await tui.wait("not from my phone")
            assert not (agents.workspace / "second.txt").exists()

            start = len(phone.frames)
            await tui.say("bash touch third.txt")
            asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
            tui.press("\x1b")  # no, in the terminal
            resolved = await phone.wait_for(
                "permission_resolved", request_id=asked["request_id"], start=start, limit_s=START_S
            )
            assert (resolved["decision"], resolved["by_device"]) == ("cancelled", "desk")
            assert not (agents.workspace / "third.txt").exists()

            start = len(phone.frames)
            await tui.say("bash touch another.txt")
            asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
            await phone.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
            await end_of(phone, asked["turn_id"])
            assert (agents.workspace / "another.txt").exists()
        events = await all_events(http, sid)
        assert [one["type"] for one in events].count("permission_requested") == 4


async def test_codex_thread_of_a_terminal_goes_on_here_and_there(place: Path) -> None:
    async with (
        open_agents(place) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        env = codex_env(agents.codex.url, str(agents.home))

        async def desk(*words: str) -> None:
            command = [CODEX, "exec", "--skip-git-repo-check", *words]
            with trio.fail_after(START_S):
                await trio.run_process(
                    command, env=env, cwd=agents.workspace, capture_stdout=True, capture_stderr=True
                )

        await desk("hello from the desk")
        entry = await listed_at_desk(http, agent="codex")
        assert (entry["first_message"], entry["message_count"]) == ("hello from the desk", 2)
        made = await http.post(f"/api/desk/sessions/codex/{entry['native_id']}/open")
        sid = made.json()["session_id"]
        await phone.attach(sid)
        mine = await begin(phone, sid, "from the phone")
        assert (await end_of(phone, mine["turn_id"]))["type"] == "complete"
        assert "2 user messages; last: from the phone" in phone.text(sid, mine["turn_id"])
        given = await http.post(f"/api/sessions/{sid}/give-back")
        assert (given.status_code, given.json()["native_id"]) == (200, entry["native_id"])
        await desk("resume", entry["native_id"], "back at the desk")
        said = await phone.wait_for("user_message", content="back at the desk", start=0)
        await end_of(phone, said["turn_id"])
        last = await begin(phone, sid, "and once more")
        await end_of(phone, last["turn_id"])
        assert "4 user messages; last: and once more" in phone.text(sid, last["turn_id"])
        said_here = [one["content"] for one in await all_events(http, sid) if one["type"] == "user_message"]
        assert said_here == ["hello from the desk", "from the phone", "back at the desk", "and once more"]
