"""What somebody sets in a terminal counts for the session; more rights than a device chose do not."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import trio

from tests.e2e.agents import ASKING, START_S, Agents, begin, end_of, open_agents
from tests.e2e.desk import (
    CLAUDE,
    QUIET,
    READY,
    READY_ASKING,
    claude_env,
    listed_at_desk,
    open_desk,
    said_at_desk,
)
from tests.e2e.shared_server import open_http
from tests.standin.replies import Answer, Text
from tests.standin.rig import eventually
from tests.support.device import Device, Json
from tests.support.tui import Tui, claude_home, open_tui

SHIFT_TAB = "\x1b[Z"


async def test_what_a_terminal_sets_is_the_sessions_setting(place: Path) -> None:
    async with open_agents(place, codex_config=QUIET) as agents, agents.server.device() as phone:
        sid = "trip"
        await phone.attach(sid, agent="codex", settings=ASKING["codex"])
        first = await begin(phone, sid, "hello from the phone")
        assert (await end_of(phone, first["turn_id"]))["type"] == "complete"
        async with open_desk(agents, sid, "1 user messages; last: hello from the phone") as tui:
            start, seen = len(phone.frames), tui.place
            await tui.say("/model")
            await tui.wait("Select Model and Effort", since=seen)
            tui.press("1")
            await tui.wait("Select Reasoning Level", since=seen)
            tui.press("3")
            told = await phone.wait_for(
                lambda frame: frame["type"] == "session_updated" and frame["settings"]["effort"] == "high",
                start=start,
            )
            await tui.wait("Model changed", since=seen)
            model, effort = told["settings"]["model"], told["settings"]["effort"]
            assert told["device_id"] == "desk"
            assert model not in (None, "gpt-5.5")
            assert told["settings"]["permission_mode"] == "untrusted"
            await said_at_desk(phone, sid, tui, "hello at the desk")
            mine = await begin(phone, sid, "and from the phone")
            await end_of(phone, mine["turn_id"])
            assert "Reconnecting" not in tui.seen, "Codex noted the model in its config, and still runs"
            mine_seen = agents.codex.requests[-1]
            assert (mine_seen.model, mine_seen.body["reasoning"]["effort"]) == (model, effort)

            start, seen = len(phone.frames), tui.place
            await tui.say("/permissions")
            await tui.wait("Full Access", since=seen)
            tui.press("3")
            await tui.wait("Enable full access", "Permission selection requested", since=seen)
            tui.press("\r")
            await phone.wait_for(
                lambda frame: (
                    frame["type"] == "session_updated"
                    and frame["settings"]["permission_mode"] == "bypassPermissions"
                ),
                start=start,
            )
            await phone.wait_for(
                lambda frame: (
                    frame["type"] == "session_updated" and frame["settings"]["permission_mode"] == "untrusted"
                ),
                start=start,
            )
            start = len(phone.frames)
            asking = await begin(phone, sid, "bash touch one.txt")
            asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
            await phone.say("decide", session_id=sid, request_id=asked["request_id"], decision="deny")
            await end_of(phone, asking["turn_id"])
            assert not (agents.workspace / "one.txt").exists()


async def mode_comes(phone: Device, mode: str | None, start: int) -> Json:
    """Wait until the session has a mode."""
    return await phone.wait_for(
        lambda frame: (
            frame["type"] == "session_updated"
            and "settings" in frame
            and frame["settings"]["permission_mode"] == mode
        ),
        start=start,
        limit_s=START_S,
    )


async def opened_here(tui: Tui, ready: str, http: httpx.AsyncClient, phone: Device) -> str:
    """Say something in a terminal of Claude Code once it is ready; open that session on the phone and return its id."""
    await tui.wait(ready)
    await tui.say("hello from the desk")
    await tui.wait("1 user messages; last: hello from the desk")
    entry = await listed_at_desk(http)
    made = await http.post(f"/api/desk/sessions/claude/{entry['native_id']}/open")
    sid: str = made.json()["session_id"]
    await phone.attach(sid)
    return sid


def ours(agents: Agents) -> list[str]:
    """Return the mode of each message that our own program wrote down, as Claude Code calls it."""
    (record,) = (agents.home / ".claude" / "projects").rglob("*.jsonl")
    whole = record.read_text().rpartition("\n")[0]  # the program may be in the middle of a line
    rows = [json.loads(line) for line in whole.splitlines()]
    return [
        row["permissionMode"]
        for row in rows
        if row.get("entrypoint") == "builderos" and "permissionMode" in row
    ]


async def test_plan_mode_of_a_claude_terminal_counts_here(place: Path) -> None:
    async with (
        open_agents(place) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        claude_home(agents.home, agents.workspace)
        await phone.say("watch_sessions")
        command = [CLAUDE, "--permission-mode", "default"]
        with open_tui(command, agents.workspace, claude_env(agents)) as tui:
            sid = await opened_here(tui, READY_ASKING, http, phone)
            for keys, shown, mode in ((2, "plan mode on", "plan"), (3, "accept edits on", None)):
                start, seen = len(phone.frames), tui.place
                for _ in range(keys):
                    tui.press(SHIFT_TAB)
                await tui.wait(shown, since=seen)
                await said_at_desk(phone, sid, tui, f"in {shown}")
                assert (await mode_comes(phone, mode, start))["device_id"] == "desk"
            start, seen = len(phone.frames), tui.place
            tui.press(SHIFT_TAB)
            await tui.wait("plan mode on", since=seen)
            await phone.say("take_over", session_id=sid)  # the program notes its mode as it ends
            await phone.wait_for("session_changed", where=None, start=start)
            await mode_comes(phone, "plan", start)
        mine = await begin(phone, sid, "from the phone")
        await end_of(phone, mine["turn_id"])
        await eventually(lambda: bool(ours(agents)))
        assert ours(agents) == ["plan"]


async def test_an_effort_chosen_during_an_answer_counts_here(place: Path) -> None:
    """Claude Code writes no row for it; the next answer shows it."""
    async with (
        open_agents(place) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        claude_home(agents.home, agents.workspace)
        with open_tui([CLAUDE], agents.workspace, claude_env(agents)) as tui:
            sid = await opened_here(tui, READY, http, phone)
            await said_at_desk(phone, sid, tui, "second at the desk")
            gate, start, seen = trio.Event(), len(phone.frames), tui.place
            agents.claude.script(Answer.of(Text.of("alpha", gate, "omega")))
            await tui.say("third at the desk")
            said = await phone.wait_for("user_message", content="third at the desk", start=start)
            await tui.say("/effort high")
            await tui.wait("Set effort level to high", since=seen)
            gate.set()
            await end_of(phone, said["turn_id"])
            start = len(phone.frames)
            await said_at_desk(phone, sid, tui, "fourth at the desk")
            chosen = await phone.wait_for("session_updated", start=start)
            assert (chosen["settings"]["effort"], chosen["device_id"]) == ("high", "desk")


async def test_a_codex_terminal_leaves_plan_mode_again(place: Path) -> None:
    async with open_agents(place, codex_config=QUIET) as agents, agents.server.device() as phone:
        sid = "trip"
        await phone.attach(sid, agent="codex", settings=ASKING["codex"])
        first = await begin(phone, sid, "hello from the phone")
        assert (await end_of(phone, first["turn_id"]))["type"] == "complete"
        async with open_desk(agents, sid, "1 user messages; last: hello from the phone") as tui:
            for mode in ("plan", "untrusted"):
                start, seen = len(phone.frames), tui.place
                tui.press(SHIFT_TAB)  # which it ignores as long as it shows a turn
                assert (await mode_comes(phone, mode, start))["device_id"] == "desk"
                await said_at_desk(phone, sid, tui, f"in {mode}")
                await tui.wait("Worked for", since=seen)
