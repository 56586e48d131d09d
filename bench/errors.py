"""What goes wrong in a measurement."""

from __future__ import annotations

__all__ = ["BenchError", "NotInstalled", "one_line"]


class BenchError(Exception):
    """Something could not be measured; the text is one line for a person."""


class NotInstalled(BenchError):
    """The yardstick is not a part of this installation."""


def one_line(error: BaseException) -> str:
    """Return the innermost reason, ours before anybody's."""
    if isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(BenchError)
        return one_line((ours or error).exceptions[0])
    text = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
