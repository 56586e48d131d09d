"""The first error inside exception groups is found however deep it lies."""

from __future__ import annotations

from bridgehub.protocol.errors import unwrap


def test_unwrap_returns_the_first_error() -> None:
    first, second = ValueError("a"), KeyError("b")
    assert unwrap(ExceptionGroup("x", [ExceptionGroup("y", [first]), second])) is first


def test_unwrap_returns_a_plain_error_itself() -> None:
    error = OSError("a")
    assert unwrap(error) is error
