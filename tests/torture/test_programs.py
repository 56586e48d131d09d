"""A real Claude Code whose command runs, against the stand-in: its program, its hub or the server is killed.

The command has a session of its own, as its tools do. It goes with program and hub, and keeps running while only the server
is away. No prompt comes to the model twice.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.e2e.shared_server import wait_processes_gone
from tests.e2e.test_claude import Place, ask, open_place
from tests.standin.replies import Answer, ToolUse
from tests.standin.rig import eventually
from tests.support.device import Device
from tests.support.invariants import committed_of, journal_problems, view_problems
from tests.torture.town import Town

START_S = 60.0


async def start_command(place: Place, device: Device, sid: str) -> psutil.Process:
    """Have the agent run a command that does not end; return its process."""
    note = place.workspace / f"{sid}.pid"
    command = f"echo $$ > {note.name}; sleep 300"
    place.standin.script(Answer.of(ToolUse("Bash", {"command": command, "description": "x"})))
    await device.attach(sid, agent="free")
    await device.send(sid, f"run {sid}")
    await device.wait_for("tool_started", session_id=sid, limit_s=START_S)
    await eventually(lambda: note.exists() and note.read_text().endswith("\n"))
    return psutil.Process(int(note.read_text()))


async def check(place: Place, device: Device, sids: list[str]) -> None:
    """Ask once more in each session, and hold journals, device and model against each other."""
    for sid in sids:
        assert (await ask(device, sid, f"and now {sid}?"))["type"] == "complete"
        journal = [committed_of(frame) for frame in await place.journal(sid)]
        assert journal_problems(journal) == []
        head = journal[-1].seq  # the checkpoint after the turn comes whenever it is done
        while device.positions[sid][1] < head:
            await device.wait_for(lambda frame: "epoch" in frame and "seq" in frame)
        seen = [frame for frame in device.events(sid) if frame["seq"] <= head]
        assert view_problems(sid, journal, [committed_of(frame) for frame in seen]) == []
    for request in place.standin.requests:
        assert max(Counter(request.user_texts).values()) == 1, request.user_texts


async def test_program_and_hub_are_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("t")
    async with open_place(folder) as place, place.server.device() as device:
        town = Town.of(place.server, folder)
        for victim in ("program", "hub"):
            command = await start_command(place, device, victim)
            hub = town.hub_of(victim)
            assert hub is not None
            dies = hub if victim == "hub" else hub.children()[0]
            dies.kill()
            end = await device.wait_for("error", session_id=victim, limit_s=START_S)
            assert end["code"] == "agent_exited"
            await wait_processes_gone([command])
        await check(place, device, ["program", "hub"])


async def test_the_server_is_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("t")
    async with open_place(folder) as place:
        async with place.server.device() as device:
            command = await start_command(place, device, "trip")
            await place.server.kill9()
        await place.server.restart()
        async with place.server.device() as device:
            await device.attach("trip", history=1000)
            assert command.is_running()
            await device.say("interrupt", session_id="trip")
            await device.wait_for("interrupted", limit_s=START_S)
            await wait_processes_gone([command])
            await check(place, device, ["trip"])
