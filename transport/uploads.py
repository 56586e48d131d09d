"""The uploads that a message may have, and how a file that comes in is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs

from actors.events.conversation import Attachment
from storage.tables import uploads as stored
from transport.access.signed_urls import UrlSigner

__all__ = ["MAX_FILE_BYTES", "OwnUploads", "Uploader", "clean_name", "mime_type", "name_on_disk"]

MAX_FILE_BYTES: Final = 50_000_000
"""The iOS app's own limit."""

MAX_FILENAME: Final = 255
"""Characters; the limit of file systems."""

KEPT_NAME: Final = 80
"""Characters of the file name that become part of the name on disk."""

_MIME: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")
_HARMFUL: Final = re.compile(r"[^A-Za-z0-9._-]+")
_UNPRINTED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@attrs.frozen
class OwnUploads:
    """The uploads of this server, by the addresses that it returned. Implements `transport.ports.Uploads`."""

    stored: stored.UploadTable
    links: UrlSigner

    async def find(self, url: str) -> Attachment | None:
        """Return the upload behind an address that this server returned; None if there is none."""
        name = self.links.upload_of(url)
        upload = None if name is None else await self.stored.find(name)
        if upload is None:
            return None
        return Attachment(upload.id, upload.filename, upload.mime_type, upload.size, upload.type, upload.url)

    async def use(self, session_id: str, files: Sequence[Attachment]) -> bool:
        """Record that a session has these files; False if one was removed."""
        names = [name for file in files if (name := self.links.upload_of(file.url)) is not None]
        return len(names) == len(files) and await self.stored.use(session_id, names)

    async def path_for(self, attachment: Attachment) -> str | None:
        """Return the path of an attachment's file, once it is here; None if it is not an upload of ours, or was removed.

        Raises:
            StorageUnavailable: it cannot be brought here.
        """
        name = self.links.upload_of(attachment.url)
        path = None if name is None else await self.stored.path_for(name)
        return None if path is None else str(path)


@attrs.frozen
class Uploader:
    """The device that uploads a file, the time, and the server's address as that device sees it."""

    device_id: str
    base_url: str
    now_ms: int


def clean_name(said: str) -> str:
    """Return a file's display name: no folders, no unprintable characters, never empty."""
    last = re.split(r"[/\\]", said)[-1]
    text = _UNPRINTED.sub("", last).strip()
    if text in ("", ".", ".."):
        return "file"
    if len(text) > MAX_FILENAME:
        stem, dot, suffix = text.rpartition(".")
        end = dot + suffix if stem and len(suffix) <= 16 else ""
        text = text[: MAX_FILENAME - len(end)] + end
    return text


def name_on_disk(filename: str) -> str:
    """Return a harmless form of the name, with its ending: agents recognise files by it."""
    plain = _HARMFUL.sub("_", filename).strip("._") or "file"
    return plain if len(plain) <= KEPT_NAME else plain[: KEPT_NAME - 16] + plain[-16:].lstrip("._")


def mime_type(header: str) -> str:
    """Return the type that a header names, if that can be one; else that of any bytes."""
    text = header.partition(";")[0].strip().lower()
    return text if _MIME.fullmatch(text) else "application/octet-stream"
