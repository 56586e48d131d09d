"""Checks the values of a config beyond their types.

attrs has such validators too, but their errors do not say which attribute is wrong; a person has to know the key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import attrs

from transport.access.proxies import Proxies

__all__ = [
    "OutOfRangeError",
    "absolute",
    "at_most",
    "byte_count",
    "networks",
    "not_empty",
    "positive",
    "roots",
]


_MOST = 1e10
"""More than any number of things, seconds or days that makes sense; as milliseconds they still fit into 64 bits."""

_MOST_BYTES = 1e15


class OutOfRangeError(ValueError):
    """A value of the right type that makes no sense."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def _over_zero(most: float) -> Callable[[object, attrs.Attribute[Any], float], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
        if not 0 < value <= most:
            raise OutOfRangeError(attribute.name, f"must be over 0 and at most {most:g}, not {value!r}")

    return check


positive = _over_zero(_MOST)
byte_count = _over_zero(_MOST_BYTES)


def at_most(limit: float) -> Callable[[object, attrs.Attribute[Any], float], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
        if not 0 <= value <= limit:
            raise OutOfRangeError(attribute.name, f"must be from 0 to {limit:g}, not {value!r}")

    return check


def not_empty(_: object, attribute: attrs.Attribute[Any], value: str | tuple[str, ...]) -> None:
    if not value:
        raise OutOfRangeError(attribute.name, "must not be empty")


def absolute(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        if not os.path.isabs(name):
            raise OutOfRangeError(attribute.name, f"must be absolute paths, not {name!r}")


def networks(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    try:
        Proxies.named(value)
    except ValueError as error:
        raise OutOfRangeError(attribute.name, f"must be addresses or networks: {error}") from error


def roots(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    not_empty(_, attribute, value)
    for folder in value:
        if "\0" in folder or not os.path.isabs(os.path.expanduser(folder)):
            raise OutOfRangeError(attribute.name, f"must be absolute paths, not {folder!r}")
