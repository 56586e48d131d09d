"""A person's message in the agent's form: text, images, files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from bridgehub.agents.acp.start import Greeting

__all__ = ["make_prompt"]

MAX_IMAGE_BYTES = 3_700_000
"""Bytes of one image that is sent. A larger one is only linked."""

MAX_IMAGES_BYTES = 15_000_000
"""Bytes of all images of one message."""

MAX_EMBEDDED_BYTES = 256 * 1024
"""Bytes of one text file that is sent whole. A larger one is only linked."""

MAX_EMBEDDED_IN_ALL = 1024 * 1024

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def make_prompt(
    content: str, attachments: tuple[dict[str, Any], ...], greeting: Greeting, earlier: str = ""
) -> list[dict[str, Any]]:
    """Return the content blocks of a message. Reads the files: use a thread.

    Args:
        content: what the person wrote.
        attachments: the files, with `path` and `filename`.
        greeting: what the agent takes besides text and links.
        earlier: what comes in front.
    """
    blocks: list[dict[str, Any]] = [{"type": "text", "text": earlier}] if earlier else []
    blocks.append({"type": "text", "text": content})
    images, texts = MAX_IMAGES_BYTES, MAX_EMBEDDED_IN_ALL
    for item in attachments:
        path = Path(str(item.get("path")))
        data = _beginning(path)
        kind = None if data is None else _image_kind(data)
        if data is not None and kind is not None and greeting.takes("image"):
            if len(data) <= min(MAX_IMAGE_BYTES, images):
                images -= len(data)
                blocks.append({"type": "image", "mimeType": kind, "data": base64.b64encode(data).decode()})
        elif (
            data is not None
            and greeting.takes("embeddedContext")
            and len(data) <= min(MAX_EMBEDDED_BYTES, texts)
        ):
            text = _as_text(data)
            if text is not None:
                texts -= len(data)
                blocks.append({"type": "resource", "resource": {"uri": path.as_uri(), "text": text}})
                continue
        blocks.append(_link(path, item))
    return blocks


def _link(path: Path, item: dict[str, Any]) -> dict[str, Any]:
    uri = path.as_uri() if path.is_absolute() else str(path)
    link = {"type": "resource_link", "uri": uri, "name": str(item.get("filename") or path.name)}
    kind = item.get("mime_type")
    return link | ({"mimeType": kind} if isinstance(kind, str) and kind else {})


def _beginning(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_IMAGE_BYTES + 1)
    except OSError:
        return None  # the agent finds out from the link


def _as_text(data: bytes) -> str | None:
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def _image_kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)
