"""A question of a plain Claude Code terminal that is answered there and on a phone at the same moment."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.agents import START_S, end_of, open_agents
from tests.e2e.desk import CLAUDE, READY_ASKING, claude_env, install_hook
from tests.e2e.shared_server import all_events, open_http
from tests.support.tui import claude_home, open_tui

ROUNDS = int(os.environ.get("BUILDEROS_TEST_ANSWERS", "4"))
"""How often both answer. Each round takes a second or two; 40 have been tried."""


async def test_of_two_answers_at_once_one_counts_and_both_sides_agree(place: Path) -> None:
    async with (
        open_agents(place) as agents,
        open_http(agents.server) as http,
        agents.server.device() as phone,
    ):
        claude_home(agents.home, agents.workspace)
        await install_hook(agents)
        await phone.say("watch_sessions")
        winners, sid = [], ""
        env = claude_env(agents)
        with open_tui([CLAUDE, "--permission-mode", "default"], agents.workspace, env) as tui:
            await tui.wait(READY_ASKING)
            for number in range(ROUNDS):
                # No letter is where one of the last round was: a terminal draws only what has changed.
                name = "abcdefgh"[number % 8] * 8 + str(number)
                start, seen = len(phone.frames), tui.place
                await tui.say(f"bash touch {name}")
                if not sid:
                    listed = await phone.wait_for("session_changed", pending=1, limit_s=START_S)
                    sid = listed["session_id"]
                    await phone.attach(sid)
                    everything = await all_events(http, sid)
                    (asked,) = (one for one in everything if one["type"] == "permission_requested")
                else:
                    asked = await phone.wait_for("permission_requested", start=start, limit_s=START_S)
                await tui.wait("Do you want to proceed?", since=seen)
                # The phone says no and the desk says yes, or the other way round.
                phone_allows = number % 2 == 0
                key = "\x1b" if phone_allows else "\r"
                if number % 4 < 2:
                    tui.press(key)
                decision = "allow" if phone_allows else "deny"
                await phone.say("decide", session_id=sid, request_id=asked["request_id"], decision=decision)
                if number % 4 >= 2:
                    tui.press(key)
                await end_of(phone, asked["turn_id"])
                events = [
                    one for one in await all_events(http, sid) if one.get("turn_id") == asked["turn_id"]
                ]
                (resolved,) = (one for one in events if one["type"] == "permission_resolved")
                corrected = any(one.get("code") == "answered_at_desk" for one in events)
                stopped = any(one["type"] == "interrupted" and one["device_id"] == "desk" for one in events)
                by_phone = resolved["by_device"] != "desk" and not corrected and not stopped
                winners.append("phone" if by_phone else "desk")
                made = (agents.workspace / name).exists()
                told = (number, resolved["decision"], resolved["by_device"], corrected, stopped, made)
                if not (stopped and phone_allows):  # else it may have run before it was stopped there
                    assert made == (phone_allows if by_phone else not phone_allows), told
                await tui.wait(READY_ASKING, since=seen)
        print(winners)
        assert winners, "somebody won"
