"""Section 8, Later: messages that run when their time comes, whatever happens to the server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from tests.e2e.shared_server import Shared, kinds_of_turn
from tests.support.server import open_server


def moment(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


async def test_a_message_for_later_is_seen_and_runs_in_time(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        await one.attach(sid, agent="echo")
        at = moment(1.5)
        accepted = await one.send(sid, "later", message_id="l", not_before=at)
        assert accepted["type"] == "accepted"
        (queued,) = (await two.attach(sid))["queue"]
        assert datetime.fromisoformat(queued["not_before"]) == datetime.fromisoformat(at)
        end = await one.ask(sid, "now")
        assert one.text(sid, end["turn_id"]) == "echo: now "
        started = await two.wait_for("turn_started", message_id="l", start=0)
        late = datetime.fromisoformat(started["timestamp"]) - datetime.fromisoformat(at)
        assert timedelta(0) <= late < timedelta(seconds=1)
        await two.wait_for("complete", turn_id=started["turn_id"], start=0)
        assert kinds_of_turn(one.events(sid), started["turn_id"])[:2] == ["user_message", "d:queued"]


async def test_what_is_wrong_with_a_time(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        refused = await device.send(sid, "x", not_before=moment(31 * 86400))
        assert (refused["type"], refused["code"]) == ("rejected", "bad_time")
        for fields in ({"not_before": "tomorrow"}, {"not_before": moment(9), "mode": "steer"}):
            start = len(device.frames)
            await device.say("send", session_id=sid, message_id="m", content="x", **fields)
            assert (await device.wait_for("error", start=start))["code"] == "bad_frame"
        assert (await device.send(sid, "x", message_id="l", not_before=moment(900)))["type"] == "accepted"
        await device.say("send_now", session_id=sid, message_id="other")
        assert (await device.wait_for("rejected", message_id="other"))["code"] == "not_queued"
        await device.say("send_now", session_id=sid, message_id="l")
        await device.wait_for("turn_started", message_id="l")


async def test_it_runs_once_although_the_server_is_killed(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.attach("gone", agent="echo")
            await device.send("trip", "/turns", message_id="soon", not_before=moment(1))
            await device.send("gone", "x", message_id="cancelled", not_before=moment(600))
            await device.say("cancel", session_id="gone", message_id="cancelled")
            await device.wait_for("delivery", state="cancelled", session_id="gone")
            await server.kill9()
        await trio.sleep(1.2)  # its time comes while nobody is there
        await server.restart()
        async with server.device() as device:
            await device.attach("trip")
            end = await device.wait_for("complete", session_id="trip", start=0)
            assert device.text("trip", end["turn_id"]) == "turns=1"
            assert len(device.events("trip", "turn_started")) == 1
