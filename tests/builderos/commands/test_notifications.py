"""`builderos notifications` on a running server: its list, a test, the switches, and why."""

from __future__ import annotations

from pathlib import Path

from tests.builderos.terminal import run_command
from tests.support.server import open_server

CONFIG = """
[push]
quiet_hours = "02:00-02:01 Europe/Berlin"
[push.command.good]
command = ["true"]

[push.command.bad]
command = ["false"]
"""


async def test_channels_of_the_config(tmp_path: Path) -> None:
    async with open_server(tmp_path, config=CONFIG) as server:

        async def run(*words: str) -> tuple[int, str, str]:
            return await run_command(server, "notifications", *words)

        status, out, _ = await run("list", "--all")
        assert status == 0
        assert [line.split()[0] for line in out.splitlines()] == [
            "ID",
            "command.bad",
            "command.good",
            "Quiet",
        ]
        assert [line.split()[:2] for line in (await run())[1].splitlines()] == [
            ["ID", "KIND"],  # the first key has no channel of its own
            ["Quiet", "hours:"],
        ]
        assert out.endswith("Quiet hours: 02:00-02:01 Europe/Berlin\n")
        assert (await run("test", "command.good"))[:2] == (0, "Sent. The service said nothing more.\n")
        status, out, err = await run("test", "command.bad")
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert "status 1" in err
        assert (await run("off", "command.good", "finished"))[1] == "command.good: decision failed\n"
        assert (await run("on", "command.good"))[1] == "command.good: decision finished failed\n"
        status, _, err = await run("on", "command.good", "lunch")
        assert (status, err.count("\n")) == (2, 1)
        assert (await run("test", "../devices"))[0] == 1
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.say("watch_sessions")
            await device.say("focus", session_id=None, visible=False)
            await device.send("trip", "/ask something")
            await device.wait_for("alert", state="open")
        status, out, _ = await run("why", "--session", "trip")
        assert status == 0
        assert "decision  trip" in out.splitlines()[0]
        assert any(line.startswith("  good: ") for line in out.splitlines())
