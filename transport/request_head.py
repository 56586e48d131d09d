"""Reads a request's head, with h11, and writes the refusal of a request before an HTTP server takes over. Pure."""

from __future__ import annotations

import re
from typing import Final

import attrs
import h11
import orjson

__all__ = [
    "HeadError",
    "Refusal",
    "RequestHead",
    "error_body",
    "find_end",
    "handshake_fault",
    "parse_head",
    "refusal_bytes",
    "without_upgrade",
]

_END: Final = re.compile(rb"\r?\n\r?\n")
_LINE: Final = re.compile(rb"\r?\n")
_VERSIONS: Final = frozenset({b"1.0", b"1.1"})
_WS_VERSION: Final = "13"
_LONGEST_SIZE: Final = 16  # digits
_UPGRADE_HEADERS: Final = frozenset({b"upgrade", b"http2-settings"})


class HeadError(Exception):
    """The data is not a valid head of HTTP/1.0 or 1.1."""


@attrs.frozen
class RequestHead:
    """A request's head. Header names are in lower case, values without outer white space."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(repr=False)

    def tokens(self, name: bytes) -> frozenset[str]:
        """Return the comma-separated words of a header, in lower case."""
        joined = b",".join(value for key, value in self.headers if key == name).decode("latin-1")
        return frozenset(word.strip().lower() for word in joined.split(",")) - {""}

    @property
    def body_bytes(self) -> int | None:
        """The body's length; None if only a strict parse can tell."""
        if self.tokens(b"transfer-encoding"):
            return None
        sizes = {value for key, value in self.headers if key == b"content-length"}
        if not sizes:
            return 0
        size = sizes.pop()
        return int(size) if not sizes and size.isdigit() and len(size) < _LONGEST_SIZE else None

    @property
    def is_websocket(self) -> bool:
        """Whether it asks for an upgrade to WebSocket."""
        asks = "websocket" in self.tokens(b"upgrade") and "upgrade" in self.tokens(b"connection")
        return self.method == "GET" and asks


def handshake_fault(head: RequestHead) -> Refusal | None:
    """Return why the head of a WebSocket's upgrade cannot be accepted, whatever is behind it."""
    if head.tokens(b"sec-websocket-version") != {_WS_VERSION}:
        content = f"This server speaks version {_WS_VERSION} of the WebSocket protocol."
        return Refusal(426, "upgrade_required", content, f"Sec-WebSocket-Version: {_WS_VERSION}")
    if not any(name == b"sec-websocket-key" and value for name, value in head.headers):
        return Refusal(400, "bad_request", "Sec-WebSocket-Key is missing.")
    return None


def find_end(data: bytes | bytearray, start: int = 0) -> int | None:
    """Return the end of the head, including the empty line; None if it is incomplete. Searches from `start` on."""
    found = _END.search(data, max(start - 3, 0))
    return None if found is None else found.end()


def parse_head(data: bytes) -> RequestHead:
    """Return the head that `data` is, without a body. Raises HeadError."""
    connection = h11.Connection(h11.SERVER)
    try:
        connection.receive_data(data)
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise HeadError(f"the head is not valid: {str(error).partition(':')[0]}") from None
    if not isinstance(request, h11.Request) or request.http_version not in _VERSIONS:
        raise HeadError("not an HTTP/1.1 request")
    target = request.target.partition(b"?")[0]
    return RequestHead(request.method.decode("ascii"), target.decode("latin-1"), tuple(request.headers))


def without_upgrade(data: bytes) -> bytes:
    """Return the head without its Upgrade header: other protocols than WebSocket stay HTTP/1.1."""
    lines = _LINE.split(data)
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in _UPGRADE_HEADERS]
    return data if len(kept) == len(lines) else b"\r\n".join(kept)


@attrs.frozen
class Refusal:
    """An HTTP status, and the code and text that give the reason. `header`: one more line of the head."""

    status: int
    code: str
    message: str
    header: str | None = None


def error_body(code: str, message: str, by_device: str | None = None) -> bytes:
    """Return the JSON body of every HTTP error. `by_device`: who was first, if that is the reason."""
    error = {"code": code, "message": message}
    if by_device is not None:
        error["by_device"] = by_device
    return orjson.dumps({"error": error})


def refusal_bytes(refusal: Refusal) -> bytes:
    """Return the whole answer, head and body; the connection ends after it."""
    from http import HTTPStatus  # 60 objects, for refusals alone

    body = error_body(refusal.code, refusal.message)
    more = "" if refusal.header is None else f"{refusal.header}\r\n"
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n"
        f"{more}"
        "Content-Type: application/json\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "Cache-Control: no-store\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
