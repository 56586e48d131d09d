"""Devices that are slow, silent, half there or lying, while others work: nobody else notices anything."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
import trio
from websockets.exceptions import InvalidState
from websockets.frames import Opcode

from tests.e2e.shared_server import all_events, open_http
from tests.support.device import Closed, Device, Json
from tests.support.invariants import committed_of, journal_problems, view_problems
from tests.support.server import Server, open_server

WORDS = 1500
LOAD = "/big 400000"

Bad = Callable[[Server, random.Random], Awaitable[None]]


def lie(dice: random.Random) -> str:
    """Return a frame that no honest device would send: of a wrong form, or of a right one and untrue."""
    at = {"epoch": dice.choice([1, 2, -1, 10**30]), "seq": dice.choice([-1, 0, 7, 10**9, 2**63, "7", None])}
    fields: Json = {
        "type": dice.choice(
            ["attach", "send", "decide", "cancel", "resolve", "interrupt", "ack", "mark_read", 7]
        ),
        "session_id": dice.choice(["work", "WORK ", "", "no-such", "\ud800", ["work"], "x" * 1000]),
        "message_id": dice.choice(["m", "", "work", None, "y" * 200]),
        "request_id": "r",
        "after": at,
        "if_head": at,
        "seq": at["seq"],
        "history": dice.choice([0, -1, 10**12]),
        "decision": dice.choice(["allow", "perhaps"]),
        "action": dice.choice(["retry", "explode"]),
        "content": dice.choice(["", "\x00", {"deep": 1}]),
    }
    for name in dice.sample(sorted(fields), dice.randint(0, 6)):
        fields.pop(name)
    text = json.dumps(fields)
    return dice.choice([text, text[: len(text) // 2], "[" * 2000, "null", "\x00", "ä" * 100])


async def lying(server: Server, dice: random.Random) -> None:
    """Lie until the server has had enough, and come back."""
    for _ in range(4):
        async with server.device() as device:
            try:
                for _ in range(30):
                    if dice.random() < 0.1:
                        await device.say_frame(Opcode.BINARY, dice.randbytes(50))
                    await device.say_raw(lie(dice))
                await device.wait_closed()
            except (Closed, InvalidState):
                await device.wait_closed()  # it had enough while we were speaking
            assert device.close_code == 4400


async def silent(server: Server, dice: random.Random) -> None:
    """Connect and say nothing, or half of something."""
    parts = urlsplit(server.url)
    head = b"GET /api/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    async with AsyncExitStack() as stack:
        streams = []
        for number in range(20):
            stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
            streams.append(await stack.enter_async_context(stream))
            await stream.send_all([b"\r", b"G", head, dice.randbytes(100) + b"\r\n\r\n"][number % 4])
        for stream in streams[::2]:
            await trio.aclose_forcefully(stream)
        await trio.sleep_forever()


async def half_open(server: Server, dice: random.Random) -> None:
    """Attach, and go without a word in the middle of a frame."""
    for _ in range(6):
        async with server.device() as device:
            await device.attach("work", history=1000)
            await device.wait_for("message", start=0)
            await device._stream.send_all(b"\x81\xfe\x10")  # a text frame that says it is long
            await device.drop()


async def slow(server: Server, dice: random.Random) -> None:
    """Attach and never read."""
    async with server.device() as device:
        await device.attach("load", history=1000)
        device.stop_reading()
        await trio.sleep_forever()


async def work(server: Server, device: Device, other: Device) -> None:
    """Talk as if nobody else were there."""
    await device.send("work", f"/words {WORDS} 1")
    for _ in range(6):
        assert (await other.ask("load", LOAD))["type"] == "complete"
    end = await device.wait_for("complete", session_id="work", start=0, limit_s=60)
    assert device.text("work", end["turn_id"]) == "".join(f"w{i} " for i in range(WORDS))


@pytest.mark.parametrize("seed", [3])
async def test_bad_company(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    company: list[Bad] = [lying, lying, silent, half_open, slow, slow, slow]
    async with (
        open_server(tmp_path_factory.mktemp("t")) as server,
        server.device() as device,
        server.device() as other,
    ):
        await device.attach("work", agent="echo")
        await other.attach("load", agent="echo")
        await other.attach("work")
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as busy:
                for number, bad in enumerate(company):
                    place = busy if bad in (lying, half_open) else nursery
                    place.start_soon(bad, server, random.Random(seed * 100 + number))
                busy.start_soon(work, server, device, other)
            nursery.cancel_scope.cancel(reason="all is said")
        await check(server, {"work": device, "load": other})
        assert "Traceback" not in server.errors.read_text()


async def check(server: Server, devices: dict[str, Device]) -> None:
    async with open_http(server) as http:
        for session_id, device in devices.items():
            journal = [committed_of(frame) for frame in await all_events(http, session_id)]
            assert journal_problems(journal) == []
            seen = [committed_of(frame) for frame in device.events(session_id)]
            assert view_problems(session_id, journal, seen) == []
