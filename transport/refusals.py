"""Answers a request before an HTTP server takes over its connection: one JSON answer, then the end."""

from __future__ import annotations

from http import HTTPStatus

import attrs
import orjson

__all__ = ["Refusal", "error_body", "refusal_bytes"]


@attrs.frozen
class Refusal:
    """An HTTP status, and the code and text that give the reason."""

    status: int
    code: str
    message: str


def error_body(code: str, message: str, by_device: str | None = None) -> bytes:
    """Return the JSON body of every HTTP error. `by_device`: who was first, if that is the reason."""
    error = {"code": code, "message": message}
    if by_device is not None:
        error["by_device"] = by_device
    return orjson.dumps({"error": error})


def refusal_bytes(refusal: Refusal) -> bytes:
    """Return the whole answer, head and body."""
    body = error_body(refusal.code, refusal.message)
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n"
        "Content-Type: application/json\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "Cache-Control: no-store\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
