"""Section 3, sign in and bad input: keys, close codes, what a wrong frame costs."""

from __future__ import annotations

import json

import pytest
import trio
from websockets.frames import Opcode

from tests.e2e.shared_server import HEARTBEAT_S, Shared
from tests.support.device import Device, Json, open_device

PATHS = [("/api/ws", None), ("/api/claude/ws", "builderos.v3"), ("/api/codex/ws", "builderos.v3")]


@pytest.mark.parametrize(("path", "subprotocol"), PATHS)
@pytest.mark.parametrize("frame_key", [False, True])
async def test_sign_in(shared: Shared, path: str, subprotocol: str | None, frame_key: bool) -> None:
    async with open_device(
        shared.url, shared.key, path=path, subprotocol=subprotocol, frame_key=frame_key
    ) as device:
        ready = device.ready
        assert ready["protocol"] == 3
        assert isinstance(ready["server_version"], str)
        assert set(ready["device"]) >= {"id", "name", "scope"}
        assert ready["device"]["scope"] == "admin"
        assert ready["heartbeat_s"] == HEARTBEAT_S
        assert device.subprotocol == subprotocol


async def refused(device: Device) -> Json:
    assert await device.wait_closed() == 4401
    assert [frame["type"] for frame in device.frames] == ["error"]
    assert device.frames[0]["code"] == "unauthorized"
    return device.frames[0]


@pytest.mark.parametrize(
    "first",
    [
        '{"type":"auth","token":"wrong"}',
        '{"type":"auth","token":""}',
        '{"type":"auth","token":7}',
        '{"type":"auth"}',
        '{"type":"ping"}',
        '{"type":"attach","session_id":"x","agent":"echo"}',
        "no json",
        "[]",
        "",
    ],
)
async def test_a_wrong_first_frame(shared: Shared, first: str) -> None:
    async with open_device(shared.url, None) as device:
        await device.say_raw(first)
        await refused(device)


async def test_a_binary_first_frame(shared: Shared) -> None:
    async with open_device(shared.url, None) as device:
        await device.say_frame(Opcode.BINARY, b'{"type":"auth"}')
        await refused(device)


async def test_a_bad_key_in_the_header_is_told_after_the_upgrade(shared: Shared) -> None:
    async with open_device(shared.url, shared.key[:-1] + "g", wait_ready=False) as device:
        await refused(device)


async def test_many_sign_in_at_once(shared: Shared) -> None:
    async def come_and_go() -> None:
        async with shared.device(frame_key=True) as device:
            await device.say("ping")
            await device.wait_for("pong")

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(come_and_go)


BAD = [
    "no json",
    "[1]",
    '"text"',
    "null",
    "{",
    "{}",
    '{"type":7}',
    '{"type":"nonsense"}',
    '{"type":"attach"}',
    '{"type":"attach","session_id":""}',
    '{"type":"attach","session_id":"a b","agent":"echo"}',
    '{"type":"attach","session_id":"ä","agent":"echo"}',
    '{"type":"attach","session_id":"../x","agent":"echo"}',
    json.dumps({"type": "attach", "session_id": "x" * 129, "agent": "echo"}),
    '{"type":"attach","session_id":"bad-1","agent":"echo","device_id":"a b"}',
    '{"type":"attach","session_id":"bad-1","agent":7}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","history":-1}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","history":1001}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","history":"5"}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","pace_ms":10001}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","pace_ms":-1}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","observe":1}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","after":{"epoch":1}}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","after":{"epoch":"1","seq":1}}',
    '{"type":"attach","session_id":"bad-1","agent":"echo","after":5}',
    '{"type":"send","session_id":"s"}',
    '{"type":"send","session_id":"s","message_id":"m"}',
    '{"type":"send","session_id":"s","message_id":"","content":"x"}',
    json.dumps({"type": "send", "session_id": "s", "message_id": "m" * 129, "content": "x"}),
    '{"type":"send","session_id":"s","message_id":"m","content":7}',
    '{"type":"send","session_id":"s","message_id":"m","content":"x","mode":"shout"}',
    '{"type":"send","session_id":"s","message_id":"m","content":"\\ud800"}',
    '{"type":"send","session_id":"s","message_id":"m","content":"x","if_head":3}',
    '{"type":"decide","session_id":"s","request_id":"r","decision":"maybe"}',
    '{"type":"resolve","session_id":"s","message_id":"m","action":"forget"}',
    '{"type":"rename","session_id":"s"}',
    '{"type":"rename","session_id":"s","title":null}',
    '{"type":"mark_read","session_id":"s","seq":1.5}',
    '{"type":"mark_read","session_id":"s","seq":true}',
    '{"type":"draft","session_id":"s"}',
    '{"type":"cancel","session_id":"s"}',
    '{"type":"interrupt"}',
    '{"type":"detach","session_id":9}',
    '{"type":"ping","x":NaN}',
    '{"type":"ping"}}',
]


async def test_bad_frames_are_told_and_cost_nothing(shared: Shared) -> None:
    async with shared.device() as device:
        for text in BAD:
            start = len(device.frames)
            await device.say_raw(text)
            await device.say("ping")
            await device.wait_for("pong", start=start)
            told = [one for one in device.frames[start:] if one["type"] not in ("pong", "heartbeat")]
            assert [one.get("code") for one in told] == ["bad_frame"], (text, told)
            assert told[0]["content"]


async def test_ten_bad_frames_in_a_row_close(shared: Shared) -> None:
    async with shared.device() as device:
        for _ in range(9):
            await device.say_raw("bad")
        await device.say("ping")
        await device.wait_for("pong")
        for _ in range(9):
            await device.say("nonsense")
        await device.say("ping")
        await device.wait_for("pong")
        for _ in range(10):
            await device.say_raw("{}")
        assert await device.wait_closed() == 4400
        bad = [one for one in device.frames if one.get("code") == "bad_frame"]
        assert len(bad) == 28


async def test_a_binary_frame_is_bad(shared: Shared) -> None:
    async with shared.device() as device:
        await device.say_frame(Opcode.BINARY, b'{"type":"ping"}')
        await device.wait_for("error", code="bad_frame")
        await device.say("ping")
        await device.wait_for("pong")


async def test_unknown_fields_are_ignored(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo", colour="blue", nested={"a": [1]})
        assert (await device.send(sid, "hello", shape=None))["type"] == "accepted"
        await device.say("ping", more=1)
        await device.wait_for("pong")


@pytest.mark.parametrize("filler", ["x", "\U0001f600"])
async def test_a_frame_over_1_mib(shared: Shared, filler: str) -> None:
    """The limit counts bytes; a connection that is over it is closed with 1009."""
    text = json.dumps({"type": "ping", "fill": ""}, ensure_ascii=False)
    room = (1 << 20) - len(text)
    width = len(filler.encode())
    fits = text[:-2] + filler * (room // width) + text[-2:]
    async with shared.device() as device:
        await device.say_raw(fits)
        await device.wait_for("pong")
        await device.say_raw(fits[:-2] + filler * 2 + fits[-2:])
        assert await device.wait_closed() == 1009


async def test_a_frame_in_fragments(shared: Shared) -> None:
    async with shared.device() as device:
        await device.say_frame(Opcode.TEXT, b'{"type":', fin=False)
        await device.say_frame(Opcode.CONT, b'"ping"}')
        await device.wait_for("pong")


async def test_invalid_utf_8_ends_only_this_connection(shared: Shared) -> None:
    async with shared.device() as device, shared.device() as other:
        await device.say_frame(Opcode.TEXT, b'{"type":"ping\xff"}')
        assert await device.wait_closed() in (1007, None)
        await other.say("ping")
        await other.wait_for("pong")


async def test_a_websocket_ping_is_answered(shared: Shared) -> None:
    async with shared.device() as device:
        await device.say_frame(Opcode.PING, b"there?")
        await device.say("ping")
        await device.wait_for("pong")
        assert device.pongs == [b"there?"]
