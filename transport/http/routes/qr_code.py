"""A QR code as a picture that a page can show. Pure, and slow by the loop's measure: some milliseconds."""

from __future__ import annotations

import io
from typing import Final

import segno

__all__ = ["svg_code"]

BORDER: Final = 4
"""Modules of white around it, which the standard asks for."""


def svg_code(text: str) -> str:
    """Return an SVG document of a QR code for `text`, black on white, without a size of its own."""
    picture = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(picture, kind="svg", xmldecl=False, omitsize=True, border=BORDER, light="#fff", dark="#000")
    return picture.getvalue().decode()
