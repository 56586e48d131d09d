"""Pictures in the output of a tool: each is kept as a blob of its own and named in the text."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import attrs

from bridgehub.blobs import Blob, blob_of

__all__ = ["MAX_PICTURES", "Picture", "picture_of", "pictures_of"]

MAX_PICTURES = 8
"""Pictures of one call that are kept. The text names all of them."""

MAX_PICTURE_BYTES = 10 * 1024 * 1024
"""Bytes of one picture. A larger one is only named."""

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


@attrs.frozen
class Picture:
    """A picture. `mime_type` follows from its bytes, never from what the agent says."""

    mime_type: str
    blob: Blob

    def told(self) -> dict[str, Any]:
        """Return the picture's fields in an event."""
        return {"mime_type": self.mime_type, **self.blob.told()}

    @property
    def words(self) -> str:
        """The text that stands for the picture."""
        return f"[picture: {self.mime_type.removeprefix('image/')}, {-(-self.blob.size // 1024)} KB]"


def picture_of(part: object) -> Picture | None:
    """Return the picture in one part of a tool's output. None if there is none that a browser can show.

    Known are the parts of Claude's service (`source`), of MCP and ACP (`data`), and of Codex (`imageUrl`).
    """
    if not isinstance(part, dict):
        return None
    source = part.get("source")
    given = source.get("data") if isinstance(source, dict) else part.get("data")
    if given is None and isinstance(part.get("imageUrl"), str):
        given = part["imageUrl"].partition(";base64,")[2]
    if not isinstance(given, str) or not 0 < len(given) <= MAX_PICTURE_BYTES * 4 // 3 + 4:
        return None
    try:
        data = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = _kind_of(data)
    return None if kind is None else Picture(kind, blob_of(data))


def pictures_of(content: object) -> list[Picture]:
    """Return the pictures in a tool's output, each once."""
    found = {one.blob.sha256: one for one in _pictures(content)}
    return list(found.values())[:MAX_PICTURES]


def _pictures(content: object) -> Iterator[Picture]:
    for part in content if isinstance(content, list) else ():
        picture = picture_of(part)
        if picture is not None:
            yield picture


def _kind_of(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS if data.startswith(beginning)), None)
