"""Checks whether a BuilderOS server answers at an address, before a person carries the address to another device."""

from __future__ import annotations

import re
import ssl
from typing import Final
from urllib.parse import urlsplit

import trio

__all__ = ["MAX_ORIGIN", "is_answered", "origin_of"]

MAX_ORIGIN: Final = 300
"""Characters of an address."""

_ORIGIN: Final = re.compile(r"https?://(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LIMIT_S: Final = 4.0
_MAX_HEAD: Final = 16 * 1024
_PORTS: Final = {"http": 80, "https": 443}


def origin_of(text: str) -> str | None:
    """Return an address in the form `https://HOST:PORT`, without a path; None if it is not an address."""
    found = _ORIGIN.match(text)
    rest = "" if found is None else text[found.end() :]
    if found is None or rest not in ("", "/"):
        return None
    port = found[0].rpartition(":")[2]
    return found[0] if not port.isdigit() or 0 < int(port) < 65_536 else None


async def is_answered(origin: str) -> bool:
    """Return whether `GET /api/health` at an address answers like this program.

    Waits at most `_LIMIT_S`. An unreachable address, an invalid certificate and any other answer give False. The answer
    is neither kept nor passed on.
    """
    parts = urlsplit(origin)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    request = f"GET /api/health HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
    with trio.move_on_after(_LIMIT_S):  # noqa: ASYNC912 - connecting waits
        try:
            stream = await _connect(parts.scheme, host, port)
            async with stream:
                await stream.send_all(request)
                return await _is_health(stream)
        except (OSError, trio.BrokenResourceError, ssl.SSLError, ValueError):
            return False
    return False


async def _connect(scheme: str, host: str, port: int) -> trio.abc.Stream:
    if scheme == "https":
        return await trio.open_ssl_over_tcp_stream(host, port, https_compatible=True)
    return await trio.open_tcp_stream(host, port)


async def _is_health(stream: trio.abc.ReceiveStream) -> bool:
    told = b""
    while len(told) < _MAX_HEAD:
        part = await stream.receive_some(4096)
        told += part
        if b'"bridgehub"' in told:
            return told.startswith(b"HTTP/1.1 200 ")
        if not part:
            break
    return False
