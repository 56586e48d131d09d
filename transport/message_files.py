"""Looks up the files that a message names, and keeps them as long as its session. For every codec."""

from __future__ import annotations

from collections.abc import Sequence

from actors.events import Attachment
from transport.ports import Uploads

__all__ = ["attachments_of"]


async def attachments_of(
    uploads: Uploads | None, session_id: str, urls: Sequence[str]
) -> tuple[Attachment, ...] | None:
    """Return the files that a message names, and record that its session has them; None if one is not an upload.

    Name, type and size come from the upload; other fields from the device are ignored.

    Raises:
        StorageUnavailable: it could not be read or recorded.
    """
    if not urls:
        return ()
    if uploads is None:
        return None
    found: list[Attachment] = []
    for url in urls:
        file = await uploads.find(url)
        if file is None:
            return None
        found.append(file)
    return tuple(found) if await uploads.use(session_id, found) else None
