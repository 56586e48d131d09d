"""What a peer's bytes become before trio-websocket reads them.

Any bytes give whole frames or one close code, whole and split at every byte alike; and what is kept has a bound.
"""

from __future__ import annotations

import pytest
from wsproto.frame_protocol import FrameProtocol, Opcode

from transport.websocket.frames import (
    MAX_CLIENT_FRAME_BYTES,
    MAX_FIRST_BYTES,
    WORK_BYTES,
    Incoming,
    close_frame,
)


def trusted() -> Incoming:
    return Incoming(trusted=True)


def frame(first: int, payload: bytes = b"", key: bytes = b"\x01\x02\x03\x04") -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    mask = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return bytes((first,)) + length + key + masked.to_bytes(size, "big")


def everything(incoming: Incoming, data: bytes, step: int | None = None) -> bytes:
    """Feed it all, and take all that comes."""
    out = b""
    for start in range(0, len(data), step or max(len(data), 1)):
        if incoming.ended:
            break
        incoming.feed(data[start : start + (step or len(data))])
        while (taken := incoming.take(4)).work:
            out += taken.data
    return out


def read(data: bytes) -> list[tuple[Opcode, object]]:
    """Return what wsproto makes of frames; each has to be whole and the last of its message."""
    protocol = FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(data)
    frames = list(protocol.received_frames())
    assert all(one.frame_finished and one.message_finished for one in frames)
    return [(one.opcode, one.payload) for one in frames]


MESSAGES = (
    frame(0x81, b"one")
    + frame(0x01, b"t")
    + frame(0x89, b"ping in between")
    + frame(0x00)
    + frame(0x00, "wö".encode()[:2])
    + frame(0x80, "wö".encode()[2:])
    + frame(0x82, b"\x00" * 70_000)
    + frame(0x02, b"x" * 300)
    + frame(0x80, b"y" * 70_000)
    + frame(0x8A, b"pong")
    + frame(0x88, b"\x03\xe8bye")
)

READ = [
    (Opcode.TEXT, "one"),
    (Opcode.PING, b"ping in between"),
    (Opcode.TEXT, "twö"),
    (Opcode.BINARY, b"\x00" * 70_000),
    (Opcode.BINARY, b"x" * 300 + b"y" * 70_000),
    (Opcode.PONG, b"pong"),
    (Opcode.CLOSE, (1000, "bye")),
]


@pytest.mark.parametrize("step", [None, 1, 7, 4096])
def test_messages_come_whole_however_they_were_sent(step: int | None) -> None:
    incoming = trusted()
    assert read(everything(incoming, MESSAGES, step)) == READ
    assert incoming.ended
    assert incoming.refused is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xff", 1002),
        (frame(0xC1, b"reserved bit"), 1002),
        (frame(0x83, b"unknown opcode"), 1002),
        (b"\x81\x05hello", 1002),
        (frame(0x09, b"a ping in parts"), 1002),
        (b"\x89\xfe", 1002),
        (frame(0x80, b"nothing to go on with"), 1002),
        (frame(0x01, b"a") + frame(0x81, b"b"), 1002),
        (b"\x81\xfe\x00\x05\0\0\0\0hello", 1002),
        (b"\x81\xff" + (65535).to_bytes(8, "big") + b"\0\0\0\0", 1002),
        (b"\x81\xff" + (1 << 63).to_bytes(8, "big") + b"\0\0\0\0", 1009),
        (b"\x81\xff" + (MAX_CLIENT_FRAME_BYTES + 1).to_bytes(8, "big") + b"\0\0\0\0", 1009),
        (frame(0x01, b"a" * 600_000) + frame(0x00, b"a" * 600_000), 1009),
    ],
)
@pytest.mark.parametrize("step", [None, 1])
def test_what_breaks_the_protocol_is_refused_at_once(data: bytes, code: int, step: int | None) -> None:
    if step is not None and len(data) > 10_000:
        step = 4096
    incoming = trusted()
    read(everything(incoming, data + frame(0x89), step))
    assert incoming.refused is not None
    assert incoming.refused.code == code
    assert not incoming._raw
    assert not incoming._message


def test_a_mebibyte_passes() -> None:
    incoming = trusted()
    half = b"a" * (MAX_CLIENT_FRAME_BYTES // 2)
    whole = frame(0x81, half * 2)
    assert everything(incoming, whole, 65536) == whole
    assert read(everything(incoming, frame(0x01, half) + frame(0x80, half)))[0][1] == (half * 2).decode()


@pytest.mark.parametrize("kind", [frame(0x00), frame(0x89), frame(0x8A), frame(0x81)])
def test_a_read_full_of_tiny_frames_comes_in_small_parts(kind: bytes) -> None:
    incoming = trusted()
    incoming.feed((frame(0x01) if kind[0] == 0 else b"") + kind * 10_000)
    for _ in range(100):
        taken = incoming.take(16)
        assert taken.work == 16
        assert len(taken.data) <= 16 * len(kind)
    assert len(incoming._message) == 0, "empty fragments gather nowhere"


def test_long_messages_are_more_work() -> None:
    incoming = trusted()
    incoming.feed(frame(0x81, b"a" * 10 * WORK_BYTES))
    assert incoming.take(1).work == 11


def test_a_stranger_brings_one_message_until_it_is_trusted() -> None:
    incoming = Incoming(MAX_FIRST_BYTES)
    two = frame(0x81, b"the key") + frame(0x89, b"ping") + frame(0x81, b"more") + frame(0x89, b"last")
    assert read(everything(incoming, two)) == [(Opcode.TEXT, "the key"), (Opcode.PING, b"ping")]
    assert incoming.held
    incoming.trusted = True
    assert read(everything(incoming, b"")) == []
    assert read(incoming.take(4).data) == [(Opcode.TEXT, "more"), (Opcode.PING, b"last")]


def test_a_stranger_whose_key_stands_in_the_head_brings_none() -> None:
    incoming = Incoming(MAX_FIRST_BYTES, had_message=True)
    assert everything(incoming, frame(0x81, b"a" * 100_000), 65536) == b""
    assert incoming.held
    incoming.trusted = True
    assert read(incoming.take(4).data) == [(Opcode.TEXT, "a" * 100_000)]


def test_after_our_close_frame_messages_are_dropped() -> None:
    incoming = Incoming(MAX_FIRST_BYTES)
    everything(incoming, frame(0x81, b"no key"))
    incoming.closing = True
    assert read(everything(incoming, frame(0x81, b"more") + frame(0x88, b"\x03\xe8"))) == [
        (Opcode.CLOSE, (1000, ""))
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\xff" + (MAX_FIRST_BYTES + 1).to_bytes(8, "big") + b"\0\0\0\0",
        frame(0x01, b"a" * 40_000) + frame(0x00, b"a" * 40_000),
    ],
)
def test_a_first_message_that_is_too_long_for_a_key_is_not_kept(data: bytes) -> None:
    incoming = Incoming(MAX_FIRST_BYTES)
    assert read(everything(incoming, data)) == [(Opcode.TEXT, "")], (
        "no key, so the answer is as for a bad one"
    )
    assert incoming.ended
    assert not incoming._message


def test_a_close_frame_says_code_and_reason() -> None:
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(close_frame(1002, "wrong"))
    assert next(protocol.received_frames()).payload == (1002, "wrong")
