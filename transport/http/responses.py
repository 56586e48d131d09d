"""Responses of the routes, and the parsing of query parameters. Every error is JSON of one form."""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from transport.refusals import error_body

__all__ = ["HttpError", "JsonAnswer", "error_response", "limit_of", "number_of", "whole_number"]

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


def number_of(request: Request, name: str) -> int | None:
    """Return a query's whole number, 0 or more; None if it is not given. Raises HttpError."""
    text = request.query_params.get(name)
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


def limit_of(request: Request, default: int) -> int:
    """Return the query's `limit`, 1 to 500. Raises HttpError."""
    limit = number_of(request, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= MAX_LIMIT:
        raise HttpError(400, "bad_request", f"limit must be from 1 to {MAX_LIMIT}.")
    return limit
