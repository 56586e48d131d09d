"""Reads and validates small JSON bodies of requests."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.types import Receive

from transport.http.responses import HttpError, whole_number

__all__ = ["MAX_JSON_BYTES", "JsonBody", "check_length", "read_json"]

MAX_JSON_BYTES: Final = 64 * 1024


def check_length(request: Request, most: int, refusal: HttpError) -> None:
    """Refuse a body without a length, or with a stated length over `most` bytes. Raises HttpError."""
    if "transfer-encoding" in request.headers:
        return
    told = request.headers.get("content-length")
    if told is None:
        raise HttpError(411, "length_required", "Content-Length is missing.")
    length = whole_number(told)
    if length is None or length > most:
        raise refusal


def over_json() -> HttpError:
    """Return the refusal of a JSON body that is too long."""
    return HttpError(413, "too_large", f"The body is over {MAX_JSON_BYTES} bytes.")


async def read_body(request: Request, most: int, refusal: HttpError) -> bytes:
    """Return a request's body. Raises HttpError: it has over `most` bytes."""
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > most:
                raise refusal
    return bytes(body)


async def wait_left(receive: Receive) -> None:
    """Wait until the client has left. Nobody else may read the request meanwhile."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_json(request: Request, *, optional: bool = False) -> JsonBody:
    """Return a request's body, a JSON object. If it is `optional`, a missing body counts as an empty object. Raises
    HttpError."""
    if optional and _has_none(request):
        return JsonBody({})
    too_large = over_json()
    check_length(request, MAX_JSON_BYTES, too_large)
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HttpError(415, "unsupported_media_type", "The body must be application/json.")
    try:
        found = orjson.loads(await read_body(request, MAX_JSON_BYTES, too_large))
    except orjson.JSONDecodeError:
        raise HttpError(400, "bad_request", "The body is not JSON.") from None
    if not isinstance(found, dict):
        raise HttpError(400, "bad_request", "The body must be an object.")
    return JsonBody(found)


def _has_none(request: Request) -> bool:
    chunked = "transfer-encoding" in request.headers
    return not chunked and request.headers.get("content-length", "0") == "0"


class JsonBody:
    """The fields of a body; unknown fields are ignored."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def has(self, name: str) -> bool:
        """Return whether a field is present and not null."""
        return self._fields.get(name) is not None

    def some(self, *names: str) -> dict[str, Any]:
        """Return those of the fields that are present and not null, as they came."""
        return {name: self._fields[name] for name in names if self.has(name)}

    def table(self, name: str) -> JsonBody:
        """Return an object within the body. Raises HttpError."""
        value = self._fields.get(name)
        if not isinstance(value, dict):
            raise HttpError(400, "bad_request", f"{name} must be an object.")
        return JsonBody(value)

    def flag(self, name: str) -> bool:
        """Return true or false. Raises HttpError."""
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise HttpError(400, "bad_request", f"{name} must be true or false.")
        return value

    def text(self, name: str, most: int, default: str | None = None) -> str:
        """Return a text of 1 to `most` printable characters. Raises HttpError."""
        value = self._fields.get(name, default)
        if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
            raise HttpError(400, "bad_request", f"{name} must be a text of 1 to {most} characters.")
        return value
