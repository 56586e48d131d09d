"""The files that a message names: looked up, and kept for as long as its session. For every codec."""

from __future__ import annotations

from collections.abc import Sequence

from actors.events import Attachment
from transport.ports import Uploads

__all__ = ["attachments_of"]


async def attachments_of(
    uploads: Uploads | None, session_id: str, urls: Sequence[str]
) -> tuple[Attachment, ...] | None:
    """Return the files that a message names, and note that its session has them; None where one is no upload.

    Whatever else a device says of its files is not believed: name, type and size are those of the upload.

    Raises:
        StorageUnavailable: it could not be looked up or noted.
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
