"""A device chooses the machine of a new session. Two real servers on one database."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from builderos.commands.session import Target, run_attach
from tests.builderos.terminal import open_terminal, run_command
from tests.e2e.shared_server import hubs_of, open_http
from tests.postgres.nodes.pair import open_pair
from tests.support.device import Device, Json, open_device


async def refused(device: Device, session_id: str, **fields: Any) -> Json:
    """Attach, and return the refusal."""
    start = len(device.frames)
    await device.say("attach", session_id=session_id, **fields)
    return await device.wait_for(
        lambda one: one["type"] in ("rejected", "error", "attached"), start=start, limit_s=15
    )


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still, as on a machine that sleeps."""
    process = psutil.Process(pid)
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def test_a_session_is_made_at_the_chosen_node(url: str, tmp_path: Path) -> None:
    """Its folder, its agent and its hub are there; who made it follows it like any other."""
    config = f'workspace_roots = ["{tmp_path}"]'
    async with open_pair(url, config=config) as nodes, nodes.a.device() as here:
        wanted = {"node": "b", "workspace": str(tmp_path)}
        attached = await here.attach("trip", agent="echo", device_id="mac", settings=wanted)
        assert (attached["machine"]["id"], attached["machine"]["state"]) == ("b", "there")
        assert (await here.ask("trip", "hello"))["type"] == "complete"
        assert set(hubs_of(nodes.b.data)) == {"trip"}
        assert hubs_of(nodes.a.data) == {}
        async with nodes.b.device() as there:
            again = await there.attach("trip", agent="echo", settings={"node": "a"})
            assert again["machine"]["state"] == "here", "a session that exists stays where it is"
        own = await here.attach("own", agent="echo", settings={"node": "a"})
        assert own["machine"]["state"] == "here"
        async with open_http(nodes.a) as http:
            found = (await http.get("/api/sessions")).json()["sessions"]
            [entry] = [one for one in found if one["session_id"] == "trip"]
            assert (entry["device_id"], entry["workspace"]) == ("mac", str(tmp_path))


async def test_the_command_line_chooses_the_machine_of_a_new_session(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair(url) as nodes:
        new = ("--agent", "echo", "--node")
        status, out, _ = await run_command(nodes.a, "send", "sent", "hello", *new, "b", "--wait")
        assert (status, out.strip()) == (0, "echo: hello")
        async with open_terminal(nodes.a, "typed", *new, "b") as terminal:
            await terminal.type("hello")
            await terminal.see("echo: hello \n— complete —\n")
            assert await terminal.end_input() == 0
        where, target = (nodes.a.data, None, None), Target("drawn", "echo", None, "b")
        monkeypatch.setattr("builderos.terminal.run.can_run", lambda _: True)
        monkeypatch.setattr("builderos.terminal.run.run_terminal", lambda *_, **__: 0)
        attach = partial(run_attach, where, target, observe=False, history=1)
        assert await trio.to_thread.run_sync(attach) == 0
        async with nodes.a.device() as device:
            assert (await device.attach("drawn"))["machine"]["id"] == "b"
        assert set(hubs_of(nodes.b.data)) == {"sent", "typed"}
        assert hubs_of(nodes.a.data) == {}
        with stopped(nodes.b.pid):
            async with open_http(nodes.a) as http:
                with trio.fail_after(10):
                    while (await http.get("/api/nodes")).json()["nodes"][1]["state"] != "away":
                        pass
            status, _, err = await run_command(nodes.a, "send", "other", "hello", *new, "b")
            assert (status, err.count("\n"), "(b) is away" in err) == (1, 1, True)


CANNOT_BE: dict[str, tuple[Json, str]] = {
    "no such machine": ({"settings": {"node": "c"}}, "unknown_node"),
    "no name": ({"settings": {"node": "B 2"}}, "bad_frame"),
    "a number": ({"settings": {"node": 7}}, "bad_frame"),
    "no folder there": ({"settings": {"node": "b", "workspace": "/not/there"}}, "bad_workspace"),
    "no worktree": ({"settings": {"node": "b", "worktree": "../x"}}, "bad_worktree"),
    "no agent there": ({"agent": "nobody", "settings": {"node": "b"}}, "unknown_agent"),
    "a mode that never asks": (
        {"settings": {"node": "b", "permission_mode": "bypass"}},
        "bypass_disabled",
    ),
}


async def test_a_choice_that_cannot_be_is_refused(url: str) -> None:
    """In the words of the machine that was to make it; nothing is made. So is a key that may only look."""
    async with open_pair(url) as nodes, nodes.a.device() as here, open_http(nodes.a) as http:
        await here.attach("known", agent="echo", settings={"node": "b"})
        await here.ask("known", "hello")  # from now on it is known what the agent offers
        for what, (more, code) in CANNOT_BE.items():
            answer = await refused(here, "trip", **{"agent": "echo", **more})
            assert answer["code"] == code, (what, answer)
        made = (await http.post("/api/devices", json={"name": "screen", "scope": "view"})).json()
        async with open_device(nodes.a.url, made["key"]) as screen:
            answer = await refused(screen, "trip", agent="echo", settings={"node": "b"})
            assert (answer["type"], answer["code"]) == ("rejected", "forbidden")
        found = (await http.get("/api/sessions")).json()["sessions"]
        assert [one["session_id"] for one in found] == ["known"]


async def test_nothing_is_made_at_a_node_that_is_away(url: str) -> None:
    """It stands still: first nobody knows, then it is away. The same attach is good once it is back."""
    wanted: Json = {"agent": "echo", "settings": {"node": "b"}}
    async with open_pair(url) as nodes, nodes.a.device() as here, open_http(nodes.a) as http:

        async def wait_for_b(state: str) -> None:
            while (await http.get("/api/nodes")).json()["nodes"][1]["state"] != state:
                pass

        with stopped(nodes.b.pid):
            assert (await refused(here, "trip", **wanted))["code"] in ("storage", "machine_away")
            with trio.fail_after(10):
                await wait_for_b("away")
            answer = await refused(here, "other", **wanted)
            assert (answer["type"], answer["code"]) == ("rejected", "machine_away")
        with trio.fail_after(10):
            await wait_for_b("there")
        assert (await here.attach("trip", **wanted))["machine"]["id"] == "b"
        assert (await here.ask("trip", "hello"))["type"] == "complete"
        found = (await http.get("/api/sessions")).json()["sessions"]
        assert [one["session_id"] for one in found] == ["trip"]
