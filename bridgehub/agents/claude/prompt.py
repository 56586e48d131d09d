"""Builds what Claude Code gets for one message of the person: text, attached files, earlier messages.

Images are sent as images. Every attached file is also named by its path, where the agent may read it.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from bridgehub.protocol.messages import History

__all__ = ["MAX_IMAGES_BYTES", "MAX_IMAGE_BYTES", "Content", "attached_paths", "history_text", "make_content"]

Content = str | list[dict[str, Any]]
"""A message's content: a text, or blocks in the form of the model service."""

MAX_IMAGE_BYTES = 3_700_000
"""Bytes of one image that is sent: the model service takes 5 MB of base64. A larger one is only named."""

MAX_IMAGES_BYTES = 15_000_000
"""Bytes of all images of one message. A request to the model service may have 32 MB, including the conversation."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)

_EARLIER = (
    "Your own record of this conversation is gone. Below is what was said in it before, oldest first, for you "
    "to know; the person's new message comes after it."
)


def attached_paths(attachments: Iterable[dict[str, Any]]) -> list[str]:
    """Return the paths of the attached files."""
    return [str(item["path"]) for item in attachments if item.get("path")]


def history_text(history: History) -> str:
    """Return what was said before, as one text for the agent. Empty if nothing was said."""
    if not history.messages:
        return ""
    left_out = f" {history.left_out} older messages are left out." if history.left_out else ""
    said = "\n\n".join(f"[{message.role}]\n{message.content}" for message in history.messages)
    return f"<earlier-conversation>\n{_EARLIER}{left_out}\n\n{said}\n</earlier-conversation>"


async def make_content(text: str, attachments: Sequence[dict[str, Any]], earlier: str = "") -> Content:
    """Build a message. Images are read on a thread.

    Args:
        text: what the person wrote.
        attachments: the files, with `path` and `filename`.
        earlier: what comes in front (`history_text`).
    """
    images = await trio.to_thread.run_sync(_images, attached_paths(attachments)) if attachments else []
    whole = "\n".join([text, "", "Attached files:", *map(_line, attachments)]) if attachments else text
    if not images and not earlier:
        return whole
    blocks = [{"type": "text", "text": earlier}] if earlier else []
    return [*blocks, *images, {"type": "text", "text": whole}]


def _line(item: dict[str, Any]) -> str:
    path = str(item.get("path"))
    return f"- {item.get('filename') or Path(path).name}: {path}"


def _images(paths: Iterable[str]) -> list[dict[str, Any]]:
    """Read the images among the files, recognized by their first bytes: a wrong kind breaks the conversation."""
    blocks: list[dict[str, Any]] = []
    left = MAX_IMAGES_BYTES
    for path in paths:
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_IMAGE_BYTES + 1)
        except OSError:
            continue  # the agent finds out from the path
        kind = _image_kind(data)
        if kind is None or len(data) > min(MAX_IMAGE_BYTES, left):
            continue
        left -= len(data)
        source = {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode()}
        blocks.append({"type": "image", "source": source})
    return blocks


def _image_kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


@attrs.define(eq=False)
class Once(AsyncIterator[dict[str, Any]]):
    """One message as the stream that the SDK expects. Not a generator: trio warns about one that is not read to its end."""

    message: dict[str, Any] | None

    async def __anext__(self) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        message, self.message = self.message, None
        if message is None:
            raise StopAsyncIteration
        return message
