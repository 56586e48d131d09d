"""WebSocket frames (RFC 6455, section 5.2): those that a server writes, and the peer's as they come. Pure.

A server's frames are unmasked, so one serves all devices.

trio-websocket works through all bytes of one read before another task runs, keeps each fragment of a message as an
object of its own, and bounds a message only by its characters. So a peer that sends 10,000 empty fragments in one read
stops the event loop, and a message without an end has no bound. `Incoming` puts each message together first:
trio-websocket gets it as one frame, and only as many frames at once as `take` was asked for.

A frame that breaks RFC 6455 ends the reading with a close code. wsproto finds the two remaining faults: a text that is
not UTF-8 and wrong content of a close frame.
"""

from __future__ import annotations

from typing import Final

import attrs

from transport.websocket import close_codes
from transport.websocket.close_codes import CloseCode

__all__ = [
    "MAX_CLIENT_FRAME_BYTES",
    "MAX_FIRST_BYTES",
    "MAX_FRAME_BYTES",
    "WORK_BYTES",
    "Incoming",
    "Taken",
    "close_frame",
    "is_close",
    "text_frame",
]

MAX_CLIENT_FRAME_BYTES: Final = 1024 * 1024
"""A device's message over this size closes its connection (1009)."""

MAX_FRAME_BYTES: Final = 512 * 1024
"""The text of a server's frame is never over this size (PROTOCOL section 3)."""

MAX_FIRST_BYTES: Final = 64 * 1024
"""The longest first message that may contain a key. Until the key is checked, a peer cannot make the server keep
more."""

WORK_BYTES: Final = 4 * 1024
"""This many bytes of a signed-in device's message count as one more frame: JSON takes work to read."""

_CONTINUATION: Final = 0x0
_TEXT: Final = 0x1
_BINARY: Final = 0x2
_CLOSE: Final = 0x8
_CONTROL: Final = frozenset({0x8, 0x9, 0xA})
_KNOWN: Final = _CONTROL | {_CONTINUATION, _TEXT, _BINARY}

_RESERVED: Final = 0x70
_MAX_SHORT: Final = 125
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_LENGTHS: Final = {_TWO_BYTES: 2, _EIGHT_BYTES: 8}
"""The number of further bytes with the size, for a short size that stands for them."""

_LONGEST: Final = {2: _MAX_SHORT, 8: 0xFFFF}
"""A size up to this must not be written in that many bytes."""

_EMPTY_TEXT: Final = bytes((0x81, 0x80, 0, 0, 0, 0))
_NO_MASK: Final = bytes(4)
_XOR: Final = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))

_FIN_TEXT: Final = 0x81
_FIN_CLOSE: Final = 0x88


def text_frame(text: bytes) -> bytes:
    """Return one whole text frame that holds `text`, which is UTF-8."""
    size = len(text)
    if size <= _MAX_SHORT:
        return bytes((_FIN_TEXT, size)) + text
    if size <= 0xFFFF:
        return bytes((_FIN_TEXT, _TWO_BYTES)) + size.to_bytes(2, "big") + text
    return bytes((_FIN_TEXT, _EIGHT_BYTES)) + size.to_bytes(8, "big") + text


def is_close(frame: bytes | bytearray | memoryview) -> bool:
    """Return whether this whole frame is a close frame. (No HTTP text begins with such a byte.)"""
    return len(frame) > 0 and frame[0] & 0x80 != 0 and frame[0] & 0x0F == _CLOSE


def close_frame(code: int, reason: str) -> bytes:
    """Return one whole close frame; the reason is at most 123 bytes of UTF-8."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((_FIN_CLOSE, len(payload))) + payload


@attrs.frozen
class Taken:
    """Frames for trio-websocket, and the work that they and the dropped bytes cost."""

    data: bytes
    work: int


@attrs.frozen
class _Header:
    """A frame's header. `start` is the beginning of its payload, counted from the header."""

    fin: bool
    opcode: int
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


@attrs.define(eq=False)
class Incoming:
    """The reading side of one connection. Holds at most one message and one read.

    Attributes:
        first_bytes: the longest first message of a peer that has not signed in.
        had_message: no further message may come before the sign-in: one came, or the request's head had a key.
        trusted: whether the peer has signed in.
        closing: our close frame is sent; messages are dropped from now on.
        held: the next frame is a message that waits until the first one has signed the peer in.
        ended: nothing more is read from this peer.
        refused: the close code for a fault of this peer; None without a fault.
    """

    first_bytes: int = MAX_CLIENT_FRAME_BYTES
    had_message: bool = False
    trusted: bool = False
    closing: bool = False
    held: bool = False
    ended: bool = False
    refused: CloseCode | None = None
    _raw: bytearray = attrs.field(factory=bytearray)
    _opcode: int | None = None
    _message: bytearray = attrs.field(factory=bytearray)

    def feed(self, data: bytes | bytearray) -> None:
        """Add the bytes of a read; only if `take` has nothing left."""
        self._raw += data

    def take(self, most: int) -> Taken:
        """Return the next whole frames, about `most` units of work; no work if more must be read."""
        data, work = bytearray(), 0
        while work < most and not self.ended:
            header = self._header()
            if header is None or not self._may_pass(header):
                break
            if self._is_too_long(header):
                return Taken(bytes(data) + self._stand_in(), work + 1)
            if len(self._raw) < header.end:
                break
            work += 1 + (header.size // WORK_BYTES if self.trusted else 0)
            data += self._next(header)
        return Taken(bytes(data), work)

    def _header(self) -> _Header | None:
        """Return the next frame's header; None if it is not complete or not valid."""
        raw = self._raw
        if len(raw) < 2:
            return None
        opcode, short = raw[0] & 0x0F, raw[1] & 0x7F
        if not self._is_valid(raw[0], raw[1]):
            self._refuse(close_codes.BAD_FRAME)
            return None
        more = _LENGTHS.get(short, 0)
        start = 2 + more + len(_NO_MASK)
        if len(raw) < start:
            return None
        size = int.from_bytes(raw[2 : 2 + more], "big") if more else short
        if more and size <= _LONGEST[more]:
            self._refuse(close_codes.BAD_FRAME)
            return None
        if opcode not in _CONTROL and len(self._message) + size > MAX_CLIENT_FRAME_BYTES:
            self._refuse(close_codes.TOO_LARGE)
            return None
        return _Header(bool(raw[0] & 0x80), opcode, start, size)

    def _is_valid(self, first: int, second: int) -> bool:
        """Return whether a frame may begin with these two bytes here."""
        opcode = first & 0x0F
        if first & _RESERVED or opcode not in _KNOWN or not second & 0x80:
            return False
        if opcode in _CONTROL:
            return first & 0x80 != 0 and second & 0x7F <= _MAX_SHORT
        return (opcode == _CONTINUATION) == (self._opcode is not None)

    def _may_pass(self, header: _Header) -> bool:
        """Return whether a frame is allowed before the peer has signed in: only one message is."""
        is_more = self.had_message and not self.trusted and not self.closing
        self.held = is_more and header.opcode not in _CONTROL
        return not self.held

    def _is_too_long(self, header: _Header) -> bool:
        is_message = header.opcode not in _CONTROL and not self.trusted
        return is_message and len(self._message) + header.size > self.first_bytes

    def _next(self, header: _Header) -> bytes:
        """Cut off the next frame; return the bytes for trio-websocket."""
        frame = self._raw[: header.end]
        del self._raw[: header.end]
        if header.opcode in _CONTROL:
            self.ended = header.opcode == _CLOSE
            return bytes(frame)
        if header.fin and self._opcode is None:
            return self._pass_on(bytes(frame))
        if self._opcode is None:
            self._opcode = header.opcode
        self._message += _unmasked(frame[header.start :], frame[header.start - 4 : header.start])
        return self._pass_on(self._whole()) if header.fin else b""

    def _pass_on(self, frame: bytes) -> bytes:
        self.had_message = True
        return b"" if self.closing else frame

    def _stand_in(self) -> bytes:
        """Return an empty message in place of one that is too long to hold a key, and read nothing more."""
        self.ended = True
        self._message.clear()
        return self._pass_on(_EMPTY_TEXT)

    def _whole(self) -> bytes:
        """Return the message that arrived in fragments, as one frame."""
        assert self._opcode is not None
        size = len(self._message)
        if size <= _MAX_SHORT:
            length = bytes((0x80 | size,))
        elif size <= 0xFFFF:
            length = bytes((0x80 | _TWO_BYTES,)) + size.to_bytes(2, "big")
        else:
            length = bytes((0x80 | _EIGHT_BYTES,)) + size.to_bytes(8, "big")
        frame = bytes((0x80 | self._opcode,)) + length + _NO_MASK + self._message
        self._opcode = None
        self._message = bytearray()
        return frame

    def _refuse(self, code: CloseCode) -> None:
        """Stop reading; `refused` is the reason."""
        self.refused = code
        self.ended = True
        self._raw.clear()
        self._message.clear()


def _unmasked(payload: bytearray, key: bytearray) -> bytearray:
    for place, byte in enumerate(key):
        payload[place::4] = payload[place::4].translate(_XOR[byte])
    return payload
