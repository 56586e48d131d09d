"""Errors of the link, and the first error inside an exception group."""

from __future__ import annotations

from typing import Literal

__all__ = ["LinkError", "LinkErrorCode", "unwrap"]

LinkErrorCode = Literal["not_json", "too_long", "unknown_type", "bad_field", "unencodable"]


class LinkError(Exception):
    """The other end sent (or we were to send) a line that is not a message of the link.

    Attributes:
        code: what is wrong: no JSON, over the limit, a `type` that nobody knows, a field that is missing or
            of the wrong type, or a value that JSON cannot hold.
        path: where, like `.event.text`; empty for the line itself. Never a value, which may be a secret.
    """

    def __init__(self, code: LinkErrorCode, path: str = "") -> None:
        super().__init__(f"{code} at {path or 'line'}")
        self.code = code
        self.path = path


def unwrap(error: BaseException) -> BaseException:
    """Return the first error inside nested exception groups; `error` itself if it is not a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
