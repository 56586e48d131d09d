"""A terminal and a device on one live thread of Codex: the real program in a pty, a real server, a stand-in model."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import httpx
import psutil
import trio

from builderos.commands.resume import program_of
from tests.e2e.agents import ASKING, START_S, begin, end_of, open_agents
from tests.e2e.desk import CODEX_READY as READY
from tests.e2e.desk import QUIET, listed_at_desk, open_desk, said_at_desk
from tests.e2e.shared_server import all_events, open_http
from tests.standin.openai import codex_env, shell
from tests.standin.openai_requests import SeenResponse
from tests.standin.replies import Answer, Reply, Text, ToolUse
from tests.standin.rig import POLL_S, eventually
from tests.support.tui import open_tui

CODEX = str(program_of("codex", None))

DIALOG = ("Would you like to run", "Yes, proceed", "No, and tell Codex", "enter to confirm")
"""Parts of the terminal's question. It draws only what has changed, so one of them may be broken."""


async def listed_as(http: httpx.AsyncClient, title: str) -> None:
    """Wait until Codex's own record has the title, from which the list of the desk is made."""
    with trio.fail_after(START_S):
        while True:
            found = (await http.get("/api/desk/sessions", params={"agent": "codex"})).json()["sessions"]
            if [one["title"] for one in found] == [title]:
                return
            await trio.sleep(POLL_S)


async def test_terminal_joins_a_live_thread_and_both_sides_decide(place: Path) -> None:
    async with (
        open_agents(place, codex_config=QUIET) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        sid = "trip"
        await phone.attach(sid, agent="codex", settings=ASKING["codex"])
        first = await begin(phone, sid, "hello from the phone")
        ended = await end_of(phone, first["turn_id"])
        assert ended["type"] == "complete", ended
        async with open_desk(agents, sid, "1 user messages; last: hello from the phone") as tui:
            (socket,) = agents.server.data.glob("hubs/*/sx")
            assert stat.S_IMODE(socket.stat().st_mode) == 0o600
            assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
            assert len(os.fsencode(socket)) < 100

            turn_id = await said_at_desk(phone, sid, tui, "hello at the desk")
            assert "2 user messages; last: hello at the desk" in phone.text(sid, turn_id)
            mine = await begin(phone, sid, "and from the phone")
            await end_of(phone, mine["turn_id"])
            await tui.wait("3 user messages; last: and from the phone")

            start = len(phone.frames)
            await tui.say("/rename Called at the desk")
            await phone.wait_for("session_updated", title="Called at the desk", start=start)
            await phone.say("rename", session_id=sid, title="Called by phone")
            await listed_as(http, "Called by phone")

            start = len(phone.frames)
            await tui.say("bash touch one.txt")
            asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
            await phone.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
            await end_of(phone, asked["turn_id"])
            assert (agents.workspace / "one.txt").exists()

            start = len(phone.frames)
            place_now = tui.place
            asking = await begin(phone, sid, "bash touch two.txt")
            asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
            await tui.wait(*DIALOG, since=place_now)
            tui.press("y")
            resolved = await phone.wait_for(
                "permission_resolved", request_id=asked["request_id"], start=start
            )
            assert (resolved["decision"], resolved["by_device"]) == ("cancelled", "desk")
            await end_of(phone, asking["turn_id"])
            assert (agents.workspace / "two.txt").exists()
        last = await begin(phone, sid, "alone again")
        await end_of(phone, last["turn_id"])
        assert "last: alone again" in phone.text(sid, last["turn_id"])
        said = [one["content"] for one in await all_events(http, sid) if one["type"] == "user_message"]
        assert said == [
            "hello from the phone",
            "hello at the desk",
            "and from the phone",
            "bash touch one.txt",
            "bash touch two.txt",
            "alone again",
        ]
        updated = [one for one in await all_events(http, sid) if one["type"] == "session_updated"]
        assert [one for one in updated if "settings" in one] == [], "the terminal changed nothing"


async def test_a_terminal_is_answered_while_ours_waits_for_its_agent(place: Path) -> None:
    """Its turn is shown once ours is over, but its question at once."""
    async with open_agents(place, codex_config=QUIET) as agents, agents.server.device() as phone:
        sid, gate, threads = "trip", trio.Event(), list[str]()
        await phone.attach(sid, agent="codex", settings=ASKING["codex"])
        first = await begin(phone, sid, "hello from the phone")
        assert (await end_of(phone, first["turn_id"]))["type"] == "complete"
        spawn = ToolUse("multi_agent_v1/spawn_agent", {"message": "count"})
        own: list[Reply] = [Answer.of("I start one. ", spawn), Answer.of("It runs.")]
        own += [Answer.of(shell("touch one.txt")), Answer.of("Made.")]

        def reply(seen: SeenResponse) -> Reply:
            if seen.thread not in threads:
                threads.append(seen.thread)
            if seen.thread == threads[0]:
                return own.pop(0) if len(own) > 1 else own[0]
            return Answer.of(Text.of(gate, "counted"))

        async with open_desk(agents, sid, "1 user messages; last: hello from the phone") as tui:
            agents.codex.fallback = reply
            ours = await begin(phone, sid, "go")
            await phone.wait_for(
                lambda frame: "It runs." in phone.text(sid, ours["turn_id"]), limit_s=START_S
            )
            start, seen = len(phone.frames), tui.place
            await tui.say("make one")
            asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
            assert asked["turn_id"] == ours["turn_id"]
            assert "touch one.txt" in asked["input"]["command"]
            await tui.wait(*DIALOG, since=seen)
            await phone.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
            await tui.wait("Made.", since=seen)
            assert (agents.workspace / "one.txt").exists()
            gate.set()
            assert (await end_of(phone, ours["turn_id"]))["type"] == "complete"
            said = await phone.wait_for("user_message", content="make one", start=start, limit_s=START_S)
            assert (await end_of(phone, said["turn_id"]))["type"] == "complete"
            assert "Made." in phone.text(sid, said["turn_id"])
        asked_for = [one for one in phone.frames if one["type"] == "permission_requested"]
        assert len(asked_for) == 1


ROUNDS = int(os.environ.get("BUILDEROS_TEST_ANSWERS", "4"))
"""How often both answer. Each round takes a second; 20 have been tried."""


async def test_of_two_answers_at_once_one_counts_and_both_sides_agree(place: Path) -> None:
    async with (
        open_agents(place, codex_config=QUIET) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        sid = "trip"
        await phone.attach(sid, agent="codex", settings=ASKING["codex"])
        first = await begin(phone, sid, "hello from the phone")
        assert (await end_of(phone, first["turn_id"]))["type"] == "complete"
        by_whom = set()
        async with open_desk(agents, sid, "1 user messages; last: hello from the phone") as tui:
            for number in range(ROUNDS):
                start, seen = len(phone.frames), tui.place
                said = await begin(phone, sid, f"bash touch {number}.txt")
                asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
                await tui.wait(*DIALOG, since=seen)
                # The phone says no and the desk says yes, or the other way round.
                phone_allows = number % 2 == 0
                decision = "allow" if phone_allows else "deny"
                if number % 4 < 2:
                    tui.press("n" if phone_allows else "y")
                await phone.say("decide", session_id=sid, request_id=asked["request_id"], decision=decision)
                if number % 4 >= 2:
                    tui.press("n" if phone_allows else "y")
                await end_of(phone, said["turn_id"])
                events = [one for one in await all_events(http, sid) if one.get("turn_id") == said["turn_id"]]
                (resolved,) = (one for one in events if one["type"] == "permission_resolved")
                corrected = any(one.get("code") == "answered_at_desk" for one in events)
                # The terminal's no also stops the turn.
                stopped = any(one["type"] == "interrupted" and one["device_id"] == "desk" for one in events)
                phone_won = resolved["by_device"] != "desk" and not corrected and not stopped
                by_whom.add(phone_won)
                made = (agents.workspace / f"{number}.txt").exists()
                if stopped and phone_allows:
                    continue  # it may have run before it was stopped, and both sides see that
                told = (resolved["decision"], resolved["by_device"], corrected, made)
                assert made == (phone_allows if phone_won else not phone_allows), (number, told)
                await tui.wait(READY, since=seen)
        assert by_whom, "somebody won"


async def test_a_terminals_program_is_joined_and_continues_without_it(place: Path) -> None:
    """The terminal's program listens where `codex` itself starts one; `codex resume` joins it without a word."""
    trusted = f'[projects."{place / "workspace"}"]\ntrust_level = "trusted"\n'
    async with (
        open_agents(place, codex_config=QUIET + trusted) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        env = codex_env(agents.codex.url, str(agents.home), QUIET + trusted)
        daemon = await trio.lowlevel.open_process(
            [CODEX, "app-server", "--listen", "unix://"],
            env=env,
            cwd=agents.workspace,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            control = agents.home / ".codex" / "app-server-control" / "app-server-control.sock"
            await eventually(control.is_socket)
            with open_tui([CODEX, "--remote", "unix://"], agents.workspace, env) as tui:
                await tui.wait(READY)
                await tui.say("hello from the desk")
                await tui.wait("1 user messages; last: hello from the desk")
                entry = await listed_at_desk(http, agent="codex")
                made = await http.post(f"/api/desk/sessions/codex/{entry['native_id']}/open")
                sid = made.json()["session_id"]
                await phone.attach(sid)
                mine = await begin(phone, sid, "from the phone")
                ended = await end_of(phone, mine["turn_id"])
                assert ended["type"] == "complete", ended["content"]
                assert "2 user messages; last: from the phone" in phone.text(sid, mine["turn_id"])
                await tui.wait("2 user messages; last: from the phone")
                turn_id = await said_at_desk(phone, sid, tui, "and at the desk")
                assert "3 user messages; last: and at the desk" in phone.text(sid, turn_id)
            last = await begin(phone, sid, "alone again")
            assert (await end_of(phone, last["turn_id"]))["type"] == "complete"
            assert daemon.returncode is None, "it is the person's, and was not ended"
        finally:
            daemon.kill()
            with trio.move_on_after(20, shield=True):
                await daemon.wait()
        said = [one["content"] for one in await all_events(http, sid) if one["type"] == "user_message"]
        assert said == ["hello from the desk", "from the phone", "and at the desk", "alone again"]


async def test_terminal_joins_however_often_it_comes(place: Path) -> None:
    """Soon after a hub that was started for it, and after a change of what makes us restart the program."""
    async with (
        open_agents(place, codex_config=QUIET) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        sid = "trip"
        await phone.attach(sid, agent="codex", settings=ASKING["codex"])
        first = await begin(phone, sid, "hello from the phone")
        assert (await end_of(phone, first["turn_id"]))["type"] == "complete"
        shows = "1 user messages; last: hello from the phone"
        for _ in range(2):
            given = await http.post(f"/api/sessions/{sid}/give-back")
            assert given.status_code == 200, given.text
            async with open_desk(agents, sid, shows) as tui:
                assert "--remote" in psutil.Process(tui.pid).cmdline()
        (agents.workspace / "AGENTS.md").write_text("changed")
        async with open_desk(agents, sid, shows) as tui:
            assert "--remote" in psutil.Process(tui.pid).cmdline()
            await said_at_desk(phone, sid, tui, "hello at the desk")
