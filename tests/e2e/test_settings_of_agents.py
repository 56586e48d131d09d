"""Section 8 with the real programs behind a real server: settings and plans hold over the deaths of server and hub."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.test_claude import START_S, open_place
from tests.e2e.test_settings import configure
from tests.e2e.world import hubs_of, wait_processes_gone
from tests.standin.replies import Answer, ToolUse


async def test_claudes_mode_survives_the_deaths_of_server_and_hub(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        server, standin = place.server, place.standin
        async with server.device() as device:
            await device.attach("trip", agent="claude")
            await device.send("trip", "hello")
            await device.wait_for("complete", limit_s=START_S)
            await configure(device, "trip", model="sonnet", permission_mode="acceptEdits", effort="low")
            await server.kill9()
        await server.restart()
        async with server.device() as device:
            for number, deadly in enumerate((False, True)):
                await device.attach("trip")
                if deadly:
                    hub = hubs_of(server.data)["trip"]
                    hub.kill()
                    await wait_processes_gone([hub])
                path = place.workspace / f"made-{number}.txt"
                standin.script(
                    Answer.of(ToolUse("Write", {"file_path": str(path), "content": "x"})), Answer.of("ok")
                )
                start = len(device.frames)
                await device.send("trip", f"write {number}")
                await device.wait_for("complete", start=start, limit_s=START_S)
                assert path.exists()
                body = standin.requests[-1].body
                assert ("sonnet" in body["model"], body["output_config"]["effort"]) == (True, "low")
            assert device.events("trip", "permission_requested") == []


async def test_a_plan_of_claude_is_approved_once_over_a_killed_server(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        server, standin = place.server, place.standin
        path = place.workspace / "made.txt"
        standin.script(
            Answer.of(ToolUse("ExitPlanMode", {"plan": "# The plan"})),
            Answer.of(ToolUse("Write", {"file_path": str(path), "content": "x"})),
            Answer.of("ok"),
        )
        async with server.device() as device:
            await device.attach("trip", agent="claude", settings={"permission_mode": "plan"})
            await device.send("trip", "plan it")
            await device.wait_for("permission_requested", limit_s=START_S)
            await server.kill9()
        await server.restart()
        async with server.device() as device, server.device() as other:
            (asked,) = (await device.attach("trip"))["pending"]
            await other.attach("trip")
            assert asked["kind"] == "plan"
            said = {"session_id": "trip", "request_id": asked["request_id"], "decision": "allow"}
            await device.say("decide", **said, mode="acceptEdits")
            resolved = await other.wait_for("permission_resolved", start=0)
            assert resolved["mode"] == "acceptEdits"
            await other.wait_for("complete", start=0, limit_s=START_S)
            assert path.exists()
            assert len(other.events("trip", "permission_requested")) == 1
            assert (await device.attach("trip"))["settings"]["permission_mode"] == "acceptEdits"
