"""Makes lighter what attrs makes for each class, and what trio-websocket loads. Both are a fifth of a server's memory.

A server has over 500 classes. Methods keep their meaning. attrs itself has no options for this, so its inner names are
used; `tests/builderos/server/process/test_light_libraries.py` fails if a new version looks otherwise.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import attr._make
import attrs
import trio

__all__ = ["SourcesOfFiles", "load_websockets", "make_classes_light"]


def load_websockets() -> None:
    """Load trio-websocket, and not `importlib.metadata`: 30 modules, of which it asks the version of trio alone."""
    name = "importlib.metadata"
    if name not in sys.modules:
        metadata = ModuleType(name)
        metadata.version = {"trio": trio.__version__}.__getitem__  # type: ignore[attr-defined]
        sys.modules[name] = metadata
        try:
            import trio_websocket  # noqa: F401
        finally:
            del sys.modules[name]


def make_classes_light() -> None:
    """Let attrs make lighter classes from now on, in this process."""
    linecache.cache = SourcesOfFiles(linecache.cache)
    inside: Any = attr._make
    inside._make_attr_tuple_class = _fields_class
    inside._ClassBuilder.add_repr = _add_repr


class SourcesOfFiles(dict[str, Any]):
    """The cache of `linecache`, for files alone.

    attrs and cattrs add the source of every method that they generate: 700 texts, 2.3 MiB of an idle server. A
    traceback through such a method does not show its line, only its name. Both add them by `setdefault`.
    """

    def setdefault(self, name: str, entry: Any = None) -> Any:
        """Keep an entry and return the one that is kept; return that of generated code unkept."""
        return entry if name.startswith("<") else super().setdefault(name, entry)


class _Fields(tuple["attrs.Attribute[Any]", ...]):
    """The fields of a class, also by their names: one class for all, in place of one for each with a property a field."""

    __slots__ = ()

    def __getattr__(self, name: str) -> attrs.Attribute[Any]:
        for field in self:
            if field.name == name:
                return field
        raise AttributeError(name)


def _fields_class(_class: str, _names: Iterable[str]) -> type[_Fields]:
    return _Fields


def _add_repr(builder: Any, _namespace: str | None) -> Any:
    builder._cls_dict["__repr__"] = _repr_of(builder._attrs)
    builder._repr_added = True
    return builder


def _repr_of(fields: Iterable[attrs.Attribute[Any]]) -> Callable[[object], str]:
    """Return the `__repr__` of a class with these fields. All have the same code; attrs compiles one for each class."""
    shown = tuple(
        (field.name, repr if field.repr is True else field.repr)
        for field in fields
        if field.repr is not False
    )

    def __repr__(self: object) -> str:
        return _show(self, shown)

    return __repr__


_UNDERWAY: set[tuple[int, int]] = set()
"""What is being shown, and by which thread."""


def _show(value: object, fields: Iterable[tuple[str, Callable[[Any], str]]]) -> str:
    """Return what attrs would show: the class and these fields, or `...` inside itself."""
    key = (id(value), threading.get_ident())
    if key in _UNDERWAY:
        return "..."
    _UNDERWAY.add(key)
    try:
        name = type(value).__qualname__.rpartition(">.")[2]
        shown = (f"{field}={show(getattr(value, field, attrs.NOTHING))}" for field, show in fields)
        return f"{name}({', '.join(shown)})"
    finally:
        _UNDERWAY.discard(key)
