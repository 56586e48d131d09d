"""Checks the values of a config beyond their types."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import Any, Final

import attrs

from transport.access.proxies import Proxies

__all__ = [
    "NODE_NAME",
    "OutOfRangeError",
    "absolute",
    "absolute_or_none",
    "at_most",
    "is_node_name",
    "networks",
    "not_empty",
    "positive",
    "positive_or_none",
]


NODE_NAME: Final = "1 to 31 small letters, digits and hyphens"
_NODE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def is_node_name(text: str) -> bool:
    """Return whether a node may have this name. `self` is the owner of sessions that no node has."""
    return _NODE_NAME.fullmatch(text) is not None and text != "self"


class OutOfRangeError(ValueError):
    """A value of the right type that makes no sense."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < math.inf:
        raise OutOfRangeError(attribute.name, f"must be over 0, not {value!r}")


def at_most(limit: int) -> Callable[[object, attrs.Attribute[Any], int], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: int) -> None:
        if not 0 <= value <= limit:
            raise OutOfRangeError(attribute.name, f"must be from 0 to {limit}, not {value!r}")

    return check


def positive_or_none(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None:
        positive(_, attribute, value)


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


def absolute_or_none(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...] | None) -> None:
    if value is None:
        return
    if not value:
        raise OutOfRangeError(attribute.name, "must not be empty")
    for folder in value:
        if "\0" in folder or not os.path.isabs(os.path.expanduser(folder)):
            raise OutOfRangeError(attribute.name, f"must be absolute paths, not {folder!r}")
