"""Screens that the browser tests use, and the folder of their pictures."""

from __future__ import annotations

from pathlib import Path

import attrs

__all__ = ["DESKTOP", "PHONE", "SCREENSHOTS", "TABLET", "Size"]

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"


@attrs.frozen
class Size:
    """A screen. `touch`: fingers rather than a mouse."""

    name: str
    width: int
    height: int
    touch: bool = False


PHONE = Size("phone", 390, 844, touch=True)
TABLET = Size("tablet", 834, 1112, touch=True)
DESKTOP = Size("desktop", 1440, 900)
