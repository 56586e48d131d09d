"""Responses of the routes, and the parsing of query parameters. Every error is JSON of one form."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response

from transport.request_head import error_body

__all__ = [
    "HttpError",
    "JsonAnswer",
    "choice_of",
    "decode_cursor",
    "encode_cursor",
    "error_response",
    "limit_of",
    "number_of",
    "query_of",
    "whole_number",
]

MAX_LIMIT: Final = 500
_MAX_INT: Final = 2**63 - 1


class JsonAnswer(Response):
    """A JSON body."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body's bytes."""
        return content if isinstance(content, bytes) else orjson.dumps(content)


class HttpError(Exception):
    """A request is refused; it becomes the error response with `status`, `code` and this text.

    `by_device`: who was first, if that is the reason.
    """

    def __init__(self, status: int, code: str, message: str, *, by_device: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.by_device = by_device


def error_response(status: int, code: str, message: str, by_device: str | None = None) -> Response:
    """Return an error response."""
    body = error_body(code, message, by_device)
    return JsonAnswer(body, status_code=status, headers={"Cache-Control": "no-store"})


def query_of(request: Request, *names: str) -> list[str | None]:
    """Return a query's values; None for one that is not given. Raises HttpError if one is not UTF-8."""
    text = request.scope["query_string"].decode("ascii", "surrogateescape")
    found = dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))
    for name in names:
        if any("\ud800" <= sign <= "\udfff" for sign in found.get(name, "")):
            raise HttpError(400, "bad_request", f"{name} is not UTF-8.")
    return [found.get(name) for name in names]


def choice_of(request: Request, name: str, *choices: str) -> str | None:
    """Return a query's value, one of `choices`; None if it is not given. Raises HttpError."""
    (text,) = query_of(request, name)
    if text is not None and text not in choices:
        raise HttpError(400, "bad_request", f"{name} must be {' or '.join(choices)}.")
    return text


def number_of(request: Request, name: str) -> int | None:
    """Return a query's whole number, 0 or more; None if it is not given. Raises HttpError."""
    (text,) = query_of(request, name)
    if text is None:
        return None
    number = whole_number(text)
    if number is None:
        raise HttpError(400, "bad_request", f"{name} must be a whole number.")
    return number


def whole_number(text: str) -> int | None:
    """Return the number of these digits, 0 to 2**63 - 1, the range of a database; None for any other text."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _MAX_INT):
        return None
    return int(text)


def encode_cursor(at_ms: int, name: str) -> str:
    """Return a place in a list that is ordered by time and name, for `next_before`."""
    return base64.urlsafe_b64encode(f"{at_ms}:{name}".encode()).decode().rstrip("=")


def decode_cursor(request: Request) -> tuple[int, str] | None:
    """Return the place that a query's `before` names; None if it is not given. Raises HttpError."""
    (text,) = query_of(request, "before")
    if text is None:
        return None
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        plain = ""
    at, _, name = plain.partition(":")
    at_ms = whole_number(at)
    if at_ms is None or not name.isprintable() or encode_cursor(at_ms, name) != text:
        raise HttpError(400, "bad_request", "`before` is not a valid cursor for this list.")
    return at_ms, name


def limit_of(request: Request, default: int) -> int:
    """Return the query's `limit`, 1 to 500. Raises HttpError."""
    limit = number_of(request, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= MAX_LIMIT:
        raise HttpError(400, "bad_request", f"limit must be from 1 to {MAX_LIMIT}.")
    return limit
