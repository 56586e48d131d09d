"""What goes wrong in a measurement."""

from __future__ import annotations

__all__ = ["BenchError"]


class BenchError(Exception):
    """Something could not be measured; the text is one line for a person."""
