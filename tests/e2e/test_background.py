"""Section 8, Work between turns: the agent acts without a message, over the death of the server too."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.shared_server import Shared, kinds_of_turn, open_http
from tests.support.server import open_server


async def test_a_background_task_wakes_the_agent(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as other, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await other.attach(sid)
        end = await device.ask(sid, "/background 1")
        began = await device.wait_for("task_started", start=0, session_id=sid)
        assert (began["background"], began["turn_id"]) == (True, end["turn_id"])
        attached = await other.attach(sid)
        assert [one["task_id"] for one in attached["background"]] == [began["task_id"]]
        listed = (await http.get("/api/sessions", params={"limit": "500"})).json()["sessions"]
        assert next(one for one in listed if one["session_id"] == sid)["background"] == 1
        ended = await device.wait_for("task_finished", start=0, session_id=sid)
        assert (ended["turn_id"], ended["state"], ended["background"]) == (None, "succeeded", True)
        started = await device.wait_for("turn_started", start=0, session_id=sid, message_id=None)
        assert started["cause"] == "background"
        done = await device.wait_for("complete", start=0, session_id=sid, turn_id=started["turn_id"])
        assert kinds_of_turn(device.frames, started["turn_id"]) == ["turn_started", "message", "complete"]
        assert device.text(sid, started["turn_id"]) == "woken"
        assert done["message_count"] == end["message_count"] + 1
        await other.wait_for("complete", start=0, session_id=sid, turn_id=started["turn_id"])
        messages = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
        assert [(one["role"], one.get("cause")) for one in messages] == [
            ("user", None),
            ("assistant", None),
            ("assistant", "background"),
        ]
        assert messages[-1]["content"] == "woken"


async def test_it_is_stopped_by_any_device(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        for act in ("stop_task", "interrupt"):
            start = len(device.frames)
            await device.ask(sid, "/background 900")
            began = await device.wait_for("task_started", start=start, session_id=sid)
            if act == "stop_task":
                await device.say("stop_task", session_id=sid, task_id=began["task_id"])
            else:
                await device.say("interrupt", session_id=sid, background=True)
            ended = await device.wait_for("task_finished", start=start, session_id=sid)
            assert (ended["task_id"], ended["state"]) == (began["task_id"], "cancelled")
        await device.say("stop_task", session_id=sid, task_id="never-was")
        assert (await device.wait_for("rejected"))["code"] == "unknown_task"
        await device.say("interrupt", session_id=sid)
        assert (await device.wait_for("rejected"))["code"] == "nothing_to_interrupt"


async def test_a_session_goes_with_its_tasks(shared: Shared, sid: str) -> None:
    """`DELETE` ends them; only a turn keeps a session."""
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "/background 900")
        await device.send(sid, "/hang", message_id="hang")
        await device.wait_for("delivery", state="consumed", message_id="hang")
        assert (await http.delete(f"/api/sessions/{sid}")).status_code == 409
        await device.say("interrupt", session_id=sid)
        await device.wait_for("interrupted", session_id=sid)
        assert (await http.delete(f"/api/sessions/{sid}")).status_code == 200
        assert (await http.get(f"/api/sessions/{sid}/messages")).status_code == 404


async def test_what_happens_while_the_server_is_away_is_in_the_journal(place: Path) -> None:
    async with open_server(place) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            end = await device.ask("trip", "/background 2")
        await server.kill9()
        await server.start()
        async with server.device() as device:
            await device.attach("trip", after={"epoch": end["epoch"], "seq": end["seq"]})
            await device.wait_for("task_finished", start=0, session_id="trip")
            started = await device.wait_for("turn_started", start=0, session_id="trip")
            assert (started["message_id"], started["cause"]) == (None, "background")
            await device.wait_for("complete", start=0, session_id="trip")
            assert device.text("trip", started["turn_id"]) == "woken"
