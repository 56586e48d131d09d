"""WebSocket frames as a server writes them (RFC 6455, section 5.2): unmasked, so one serves all devices."""

from __future__ import annotations

__all__ = ["MAX_CLIENT_FRAME_BYTES", "MAX_FRAME_BYTES", "close_frame", "is_close", "text_frame"]

MAX_CLIENT_FRAME_BYTES = 1024 * 1024
"""A device's message over this size closes its connection (1009)."""

MAX_FRAME_BYTES = 512 * 1024
"""The text of a server's frame is never over this size (PROTOCOL section 3)."""

_FIN_TEXT = 0x81
_FIN_CLOSE = 0x88
_CLOSE_OPCODE = 0x8
_SHORT = 126
_MEDIUM = 65536


def text_frame(text: bytes) -> bytes:
    """Return one whole text frame that holds `text`, which is UTF-8."""
    size = len(text)
    if size < _SHORT:
        return bytes((_FIN_TEXT, size)) + text
    if size < _MEDIUM:
        return bytes((_FIN_TEXT, 126)) + size.to_bytes(2, "big") + text
    return bytes((_FIN_TEXT, 127)) + size.to_bytes(8, "big") + text


def is_close(frame: bytes | bytearray | memoryview) -> bool:
    """Return whether this whole frame is a close frame. (No HTTP text begins with such a byte.)"""
    return len(frame) > 0 and frame[0] & 0x80 != 0 and frame[0] & 0x0F == _CLOSE_OPCODE


def close_frame(code: int, reason: str) -> bytes:
    """Return one whole close frame; the reason is at most 123 bytes of UTF-8."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((_FIN_CLOSE, len(payload))) + payload
