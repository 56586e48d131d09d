"""`builderos send` and `builderos sessions` against a real server."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
import trio

from builderos.client.send import send
from builderos.client.state import Follow, RefusedError
from builderos.client.wire.connection import Server
from tests.builderos.terminal import command_line, run_command
from tests.support.server import ROOT, open_server


async def test_the_exit_status_is_the_end_of_the_turn(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        status, out, err = await run_command(server, "send", "trip", "hi", "--agent", "echo", "--wait")
        assert (status, out, err) == (0, "echo: hi \n", "")
        status, out, err = await run_command(server, "send", "trip", "/garbage", "--wait")
        assert (status, out) == (1, "\n")
        assert "agent_protocol" in err
        status, _, err = await run_command(server, "send", "nowhere", "hi")
        assert (status, len(err.splitlines())) == (1, 1)
        status, _, err = await run_command(server, "send", "trip", "")
        assert (status, len(err.splitlines())) == (2, 1)


async def test_interrupted_and_cancelled_have_statuses_of_their_own(tmp_path: Path) -> None:
    statuses: dict[str, int] = {}

    async def send(text: str) -> None:
        statuses[text] = (await run_command(server, "send", "trip", text, "--wait"))[0]

    async with open_server(tmp_path) as server, server.device() as device:
        await device.attach("trip", agent="echo")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, "/hang")
            await device.wait_for("delivery", state="consumed")
            nursery.start_soon(send, "later")
            queued = await device.wait_for("delivery", state="queued")
            await device.say("cancel", session_id="trip", message_id=queued["message_id"])
            await device.say("interrupt", session_id="trip")
    assert statuses == {"/hang": 3, "later": 4}


async def test_the_same_message_id_runs_once(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        arguments = ("send", "trip", "/turns", "--agent", "echo", "--message-id", "m1", "--wait")
        first = await run_command(server, *arguments)
        again = await run_command(server, *arguments)
        assert first == again == (0, "turns=1\n", "")
        status, out, _ = await run_command(server, "send", "trip", "/turns", "--wait")
        assert (status, out) == (0, "turns=2\n")


@pytest.mark.parametrize("message_id", ["", "x" * 129])
async def test_a_wrong_message_id(tmp_path: Path, message_id: str) -> None:
    async with open_server(tmp_path, start=False) as server:
        status, _, err = await run_command(server, "send", "trip", "hi", "--message-id", message_id)
        assert (status, len(err.splitlines())) == (2, 1)
        assert "--message-id" in err


async def test_a_message_that_the_server_does_not_understand(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        for wait in (False, True):
            with pytest.raises(RefusedError), trio.fail_after(40):
                await send(
                    lambda: Server(server.url, server.key),
                    Follow("trip", "echo"),
                    content="hi",
                    message_id="x" * 129,
                    wait=wait,
                    chance=random.Random(1),
                )


async def test_without_waiting_it_is_accepted(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server, server.device() as device:
        await device.attach("trip", agent="echo")
        status, out, err = await run_command(server, "send", "trip", "/words 5 1", "--device", "cron")
        assert (status, out, err) == (0, "", "")
        said = await device.wait_for("user_message")
        assert (said["content"], said["device_id"]) == ("/words 5 1", "cron")
        await device.wait_for("complete")


async def test_a_message_survives_the_server_that_it_waits_on(tmp_path: Path) -> None:
    result: list[tuple[int, str, str]] = []

    async def send() -> None:
        result.append(await run_command(server, "send", "trip", "/words 60 25", "--wait"))

    async with open_server(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            async with server.device() as device:
                await device.attach("trip", agent="echo")
                nursery.start_soon(send)
                await device.wait_for("message")
            await server.kill9()
            await server.start(*_same_port(server.url))
        assert result[0][0] == 0
        assert result[0][1].split() == [f"w{i}" for i in range(60)]


def _same_port(url: str) -> tuple[str, str]:
    return "--port", url.rpartition(":")[2]


async def test_sessions_is_a_table(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            for name in ("one", "two"):
                await device.attach(name, agent="echo")
                await device.ask(name, "hello")
        status, out, _ = await run_command(server, "sessions")
        assert status == 0
        lines = [line.split() for line in out.splitlines()]
        assert [line[:4] for line in lines] == [
            ["SESSION", "AGENT", "STATE", "MESSAGES"],
            ["two", "echo", "idle", "2"],
            ["one", "echo", "idle", "2"],
        ]
        status, out, _ = await run_command(server, "sessions", "--limit", "1")
        assert len(out.splitlines()) == 2
        await server.terminate()
        status, _, err = await run_command(server, "sessions")
        assert (status, len(err.splitlines())) == (1, 1)


@pytest.mark.parametrize("limit", ["0", "501", "x"])
async def test_a_wrong_limit(tmp_path: Path, limit: str) -> None:
    async with open_server(tmp_path, start=False) as server:
        status, _, err = await run_command(server, "sessions", "--limit", limit)
        assert (status, len(err.splitlines())) == (2, 1)


async def test_whoever_reads_the_answer_may_have_enough(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        process = await trio.lowlevel.open_process(
            command_line(server, "send", "trip", "/words 20000", "--agent", "echo", "--wait"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=dict(server.environment),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with trio.fail_after(30):
            await process.stdout.receive_some(10)
            await process.stdout.aclose()
            err = b"".join([chunk async for chunk in process.stderr])
            assert await process.wait() == 1
        await process.stderr.aclose()
    assert err == b"builderos: the reader closed the output too early\n"
