"""Whatever comes in at the port, the server stays up, shows no traceback, and does nothing that the key may not.

Sound requests, frames and forms are spoiled by a seed and sent to one real server over real sockets. Meanwhile
another device is attached, and its next turn is as whole as ever. Raw bytes are what the libraries of a test would
never send; what fits the description is tried in `tests/e2e/test_openapi.py`.
"""

from __future__ import annotations

import json
from typing import Final

import pytest
import trio
from websockets.exceptions import InvalidState
from websockets.frames import Opcode

from tests.app.line import chat, open_line
from tests.security.fuzzing import AT_ONCE, SEED, exchange, unhurt
from tests.security.guarded_server import KEYS, STRANGERS, Guarded
from tests.security.mutations import spoiled_many
from tests.security.test_calls import CALLS
from tests.security.test_frames import FRAMES
from tests.support.device import Closed, Device
from transport.ios.wire import ChatFrame, ConfigFrame, decode_app
from transport.v3.decode import WireError, decode

MAY_CHANGE: Final = ("label",)
"""What a key that may only look changes by attaching: the labels that it goes by."""

UPGRADE: Final = (
    b"GET /api/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


# ---- HTTP ----


def requests(key: str | None, bodies: dict[str, bytes]) -> list[bytes]:
    """Return a request for each call, by a key."""
    found = []
    for name in CALLS:
        method, _, path = name.partition(" ")
        for field, value in (("{id}", "seen"), ("{agent}", "claude"), ("{name}", "x"), ("{session}", "seen")):
            path = path.replace(field, value)
        path = path.replace("{digest}", "0" * 64)
        body = bodies.get(name, b"")
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        if key is not None:
            head += f"X-API-Key: {key}\r\n"
        if method == "POST":
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        found.append(head.encode() + b"\r\n" + body)
    return found


BODIES: Final = {
    "POST /api/devices": b'{"name":"new","scope":"admin"}',
    "POST /api/devices/pair": b'{"name":"new","scope":"admin"}',
    "POST /api/pair": b'{"name":"new"}',
    "POST /api/notifications/register": b'{"device_token":"t","platform":"ios","device_id":"d"}',
}


@pytest.mark.parametrize("who", ["nobody", "view"])
async def test_spoiled_requests(who: str, guarded: Guarded) -> None:
    samples = requests(KEYS.get(who), BODIES)
    limit = trio.CapacityLimiter(AT_ONCE)
    statuses: dict[str, int] = {}

    async def one(data: bytes, pieces: bool) -> None:
        async with limit:
            got = await exchange(guarded, data, pieces=pieces)
        status = got[9:12].decode("latin-1")
        statuses[status] = statuses.get(status, 0) + 1
        assert not got or got.startswith(b"HTTP/1.1 "), got[:80]
        assert status not in ("500", "502"), (data, got)
        if status[:1] in ("4", "5"):
            body = got.partition(b"\r\n\r\n")[2]
            assert not body or set(json.loads(body)) == {"error"}, (data, got)

    # A view key may say where its notifications go.
    may_change = ["notification"] if who == "view" else []
    async with unhurt(guarded, f"http-{who}", *may_change), trio.open_nursery() as nursery:
        for number, data in spoiled_many(samples, 240, SEED):
            nursery.start_soon(one, data, number % 20 == 0)
    assert {"400", "401"} <= set(statuses), statuses


# ---- version 3 ----


def test_both_codecs_take_anything() -> None:
    """Any bytes give a frame or the typed error of version 3, and a frame or nothing of the app's."""
    samples = [*frames_of("seen"), *app_frames()]
    kinds: dict[str, int] = {}
    for number, data in spoiled_many(samples, 4000, SEED):
        text = data.decode("utf-8", "replace")
        if number % 10 == 0:
            text = text.replace("e", "\ud800", 1)
        line = ""
        try:
            kind = type(decode(text)).__name__
        except WireError as wrong:
            kind, line = wrong.code, str(wrong)
        assert "\n" not in line
        kinds[kind] = kinds.get(kind, 0) + 1
        frame = decode_app(text)
        assert frame is None or isinstance(frame, ChatFrame | ConfigFrame)
        kinds[str(type(frame))] = kinds.get(str(type(frame)), 0) + 1
    assert {"bad_frame", "SendFrame", str(ChatFrame), str(type(None))} <= set(kinds), kinds


def frames_of(sid: str) -> list[bytes]:
    """Return a sound frame of each kind."""
    return [
        json.dumps({"type": kind, "session_id": sid, **row.fields}).encode() for kind, row in FRAMES.items()
    ]


def app_frames() -> list[bytes]:
    files = [{"url": "/uploads/x", "type": "photo"}]
    return [
        chat("hello", "seen", "phone", chat_type="claude", attachments=files).encode(),
        b'{"working_directory":"/"}',
        b"allow",
    ]


async def test_spoiled_frames(guarded: Guarded) -> None:
    codes: set[int | None] = set()
    waiting = list(spoiled_many(frames_of("frames"), 260, SEED))
    async with unhurt(guarded, "frames", *MAY_CHANGE):
        while waiting:
            try:
                async with guarded.device(KEYS["view"]) as device:
                    await device.attach("frames")
                    await say_all(device, waiting)
            except* (Closed, InvalidState):
                codes.add(device.close_code)
    assert codes <= {4400, 4401, 1007, 1002, 1009, None}, codes


async def say_all(device: Device, waiting: list[tuple[int, bytes]]) -> None:
    """Say what waits, in fives with a sound frame behind, which has its answer. Ends where the connection does."""
    while waiting:
        for _ in range(5):
            if waiting:
                number, data = waiting.pop()
                await device.say_frame(Opcode.BINARY if number % 40 == 0 else Opcode.TEXT, data)
        start = len(device.frames)
        await device.say("ping")
        await device.wait_for("pong", start=start)


async def test_spoiled_websocket_bytes(guarded: Guarded) -> None:
    """Frames whose heads are wrong, and handshakes."""
    head = UPGRADE + f"X-API-Key: {KEYS['view']}\r\n\r\n".encode()
    frames = b"".join(masked(text) for text in frames_of("bytes"))
    samples = [masked(b'{"type":"ping"}') * 3, b"\x89\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe8", frames]
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(data: bytes) -> None:
        async with limit:
            assert (await exchange(guarded, data)).startswith((b"HTTP/1.1 ", b""))

    async with unhurt(guarded, "bytes", *MAY_CHANGE), trio.open_nursery() as nursery:
        for _, data in spoiled_many(samples, 100, SEED):
            nursery.start_soon(one, head + data)
        for _, data in spoiled_many([head], 60, SEED + 1):
            nursery.start_soon(one, data)


def masked(text: bytes) -> bytes:
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


# ---- the shipped app ----


async def test_spoiled_first_frames_of_the_app(guarded: Guarded) -> None:
    """Nothing but a key signs in; a message that is nearly one that was used does not."""
    samples = [*app_frames(), *(key.encode() for key in KEYS.values()), b'{"type":"auth"}']
    async with unhurt(guarded, "firsts"):
        for _, data in spoiled_many(samples, 80, SEED):
            if data.decode("utf-8", "replace").strip() in KEYS.values():
                continue
            async with open_line(await guarded.connect(), "/api/claude/ws") as line:
                line.protocol.send_text(data)
                await line._flush()
                code = await line.closed()
                said = [text for _, text in line.texts]
                if is_utf8(data):
                    assert (said, code) == (["error:invalid_api_key"], 1000), data
                else:  # no text frame at all: the WebSocket's own protocol is broken
                    assert said == [], data


async def test_spoiled_frames_of_the_app(guarded: Guarded) -> None:
    waiting = [data for _, data in spoiled_many(app_frames(), 150, SEED) if is_utf8(data)]
    async with (
        unhurt(guarded, "app", *MAY_CHANGE),
        open_line(await guarded.connect(), "/api/codex/ws") as line,
    ):
        await line.sign_in(KEYS["view"])
        for data in waiting:
            await line.say(data.decode())
        await line.say(KEYS["view"])
        while await line.text() != "authenticated":
            pass
        assert not line.ended


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


async def test_codes_and_keys_that_are_nearly_right(guarded: Guarded) -> None:
    """A spoiled key or code is nobody's, over each way in."""
    good = [*KEYS.values(), *(one for one in STRANGERS.values() if one)]
    async with unhurt(guarded, "keys"):
        for number, data in spoiled_many([one.encode() for one in good], 60, SEED):
            key = bytes(byte for byte in data if 32 < byte < 127)
            if key.decode() in KEYS.values():
                continue
            method, path = (b"GET", b"/api/devices") if number % 2 else (b"POST", b"/api/pair")
            head = (
                method
                + b" "
                + path
                + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-API-Key: "
                + key
                + b"\r\n\r\n"
            )
            got = await exchange(guarded, head)
            assert got[9:12] == b"401", (head, got)
