"""Notifications of two nodes: one sends, knows who looks at the other one, and is replaced; no card comes twice."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable

import psutil
import psycopg
import pytest
import trio

from tests.e2e.shared_server import open_http
from tests.postgres.nodes.pair import Pair, open_pair
from tests.support.device import Device, Json
from tests.support.server import Server

CONFIG = """
[push.command.me]
command = ["sh", "-c", "cat >> ~/told"]
detail = "request"
"""


def told(server: Server) -> list[Json]:
    """Return what a node's program was notified so far."""
    file = server.data.parent / "home" / "told"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def cards(nodes: Pair, kind: str) -> list[Json]:
    """Return the cards of both nodes that were to make a sound."""
    both = [*told(nodes.a), *told(nodes.b)]
    return [one for one in both if one["kind"] == kind and one["state"] == "open" and not one["repeat"]]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so. A card waits some seconds before it is sent."""
    with trio.fail_after(40):  # noqa: ASYNC912 - waits, or has nothing to wait for
        while not is_so():  # noqa: ASYNC110 - other processes write
            await trio.sleep(0.05)


async def wait_begun(url: str) -> None:
    """Wait until a node notifies: what happened before it began raises no alert."""
    with psycopg.connect(url, autocommit=True) as connection:
        sql = "SELECT 1 FROM consumer WHERE name = 'push'"
        await until(lambda: connection.execute(sql).fetchone() is not None)


def sender_of(nodes: Pair) -> tuple[Server, Server]:
    """Return the node that has sent cards, and the other one."""
    [sender] = [server for server in (nodes.a, nodes.b) if told(server)]
    return sender, nodes.b if sender is nodes.a else nodes.a


async def look(device: Device, session_id: str | None) -> None:
    """Say where a person looks; `None` is nowhere."""
    await device.say("focus", session_id=session_id, visible=session_id is not None, idle_s=0)


async def asked(device: Device, session_id: str, words: str) -> str:
    """Have the agent ask something; return the request's id."""
    start = len(device.frames)
    await device.send(session_id, f"/ask {words}")
    return str((await device.wait_for("permission_requested", start=start))["request_id"])


async def test_one_node_sends_and_knows_who_looks_at_the_other(url: str) -> None:
    async with (
        open_pair(url, config=CONFIG) as nodes,
        nodes.a.device() as here,
        nodes.b.device() as there,
    ):
        await wait_begun(url)
        await here.attach("trip", agent="echo", device_id="mac")
        await there.attach("trip", device_id="phone")
        for device in (here, there):
            await device.say("watch_sessions")
            await look(device, None)
        request_id = await asked(here, "trip", "one")
        await until(lambda: len(cards(nodes, "decision")) == 1)
        for device in (here, there):
            await device.wait_for("alert", start=0, state="open", request_id=request_id)
        await there.say("decide", session_id="trip", request_id=request_id, decision="allow")
        for device in (here, there):
            await device.wait_for("alert", start=0, state="settled", request_id=request_id)
        sender, other = sender_of(nodes)
        looker = here if other is nodes.a else there
        await until(lambda: len(cards(nodes, "finished")) == 1)
        await look(looker, "trip")
        start = len(here.frames), len(there.frames)
        await looker.ask("trip", "somebody looks at this one")
        for device, since in ((here, start[0]), (there, start[1])):
            await device.wait_for("alert", start=since, kind="finished", state="settled")
        assert len(cards(nodes, "finished")) == 1, "it was seen at the other node"
        async with open_http(sender) as one, open_http(other) as two:
            before = len(told(sender))
            for http in (one, two):
                answer = (await http.post("/api/notifications/command.me/test")).json()
                assert answer["sent"] is True, answer
            assert [one["kind"] for one in told(sender)[before:]] == ["test", "test"]
        assert told(other) == []


def killed(process: psutil.Process) -> Callable[[], None]:
    process.kill()
    return lambda: None


def stopped(process: psutil.Process) -> Callable[[], None]:
    process.send_signal(signal.SIGSTOP)
    return lambda: process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("end", [killed, stopped])
async def test_another_node_sends_if_the_sender_is_gone(
    url: str, end: Callable[[psutil.Process], Callable[[], None]]
) -> None:
    """Also if it only stands still and comes back, with the database's connection open all the time."""
    async with open_pair(url, config=CONFIG) as nodes, open_http(nodes.a) as at_a, open_http(nodes.b) as at_b:
        await wait_begun(url)
        async with nodes.a.device() as here, nodes.b.device() as there:
            for device, session_id in ((here, "at-a"), (there, "at-b")):
                await device.attach(session_id, agent="echo")
                await look(device, None)
                await device.ask(session_id, "hello")
            await until(lambda: len(cards(nodes, "finished")) == 2)
            sender, other = sender_of(nodes)
            device, home = (here, "at-a") if other is nodes.a else (there, "at-b")
            back = end(psutil.Process(sender.pid))
            try:
                request_id = await asked(device, home, "may I")
                await until(lambda: len([one for one in told(other) if one["kind"] == "decision"]) == 1)
            finally:
                back()
            http = at_a if other is nodes.a else at_b
            if end is killed:
                assert await sender.wait() != 0
                await sender.restart()
            with trio.fail_after(15):
                while [one["state"] for one in (await http.get("/api/nodes")).json()["nodes"]].count("away"):
                    pass
            await device.say("decide", session_id=home, request_id=request_id, decision="allow")
            await until(lambda: any(one["state"] == "settled" for one in [*told(nodes.a), *told(nodes.b)]))
        opened = [one for one in [*told(nodes.a), *told(nodes.b)] if one["state"] == "open"]
        sounds = Counter(one["alert_id"] for one in opened if not one["repeat"])
        assert set(sounds.values()) == {1}, "only a card that was under way comes once more, without a sound"
        assert set(sounds) == {one["alert_id"] for one in opened}
