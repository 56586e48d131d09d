"""How the server and the process that renders talk; neither has to load the other's code for it."""

from __future__ import annotations

from typing import Final

__all__ = ["HEADER_BYTES", "MAX_HTML_BYTES", "NOTHING", "Block"]

Block = tuple[str, str]
"""A block's id and its Markdown."""

HEADER_BYTES: Final = 4
"""In front of each request and answer, its length, big endian."""

NOTHING: Final = 0xFFFFFFFF
"""Instead of a length: there is no rendering."""

MAX_HTML_BYTES: Final = 1024 * 1024
"""A longer rendering is none: a page with it would be slow, and no frame holds half of it."""
