"""Receives a file from a request and stores it, and looks up the uploads that a message may have."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Sequence
from typing import Final

import attrs

from actors.events.conversation import Attachment
from actors.ports import Ids
from storage.tables import uploads as stored
from transport.access.signed_urls import UPLOADS_PATH, UrlSigner
from transport.http.multipart import Data, MultipartError, MultipartReader, PartBegins, Piece
from transport.http.responses import HttpError

__all__ = ["MAX_FILE_BYTES", "OwnUploads", "Uploader", "clean_name", "receive_upload", "too_large"]

MAX_FILE_BYTES: Final = 50_000_000
"""The iOS app's own limit."""

MAX_TYPE: Final = 32
MAX_FIELD_BYTES: Final = 1024
MAX_FILENAME: Final = 255
"""Characters; the limit of file systems."""

KEPT_NAME: Final = 80
"""Characters of the file name that become part of the name on disk."""

_TYPE: Final = re.compile(rf"[a-z0-9_-]{{1,{MAX_TYPE}}}")
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


def too_large() -> HttpError:
    """Return the refusal of a file that is over the limit."""
    return HttpError(413, "too_large", f"The file is over {MAX_FILE_BYTES} bytes.")


@attrs.define(eq=False)
class _Form:
    """The parts of the form so far. It needs a part `file` and a part `type`; others are ignored."""

    part: PartBegins | None = None
    file: PartBegins | None = None
    kind: bytearray = attrs.field(factory=bytearray)
    field_bytes: int = 0

    async def take(self, piece: Piece, incoming: stored.IncomingFile) -> None:
        """Take a piece; the file's own pieces reach `incoming`. Raises HttpError."""
        if isinstance(piece, PartBegins):
            self._begins(piece)
        elif isinstance(piece, Data):
            if self.part is not None and self.part is self.file:
                if incoming.size + len(piece.data) > MAX_FILE_BYTES:
                    raise too_large()
                await incoming.write(piece.data)
            else:
                self._field(piece.data)

    def _begins(self, part: PartBegins) -> None:
        if part.name == "file":
            if self.file is not None:
                raise _bad_form("there are two parts named file")
            self.file = part
        self.part = part

    def _field(self, data: bytes) -> None:
        self.field_bytes += len(data)
        if self.field_bytes > MAX_FIELD_BYTES:
            raise HttpError(413, "too_large", "The parts beside the file are too long.")
        if self.part is not None and self.part.name == "type":
            self.kind += data

    def type(self) -> str:
        """Return the type that the device gave for the file."""
        text = self.kind.decode("utf-8", "replace").strip().lower() or "other"
        if not _TYPE.fullmatch(text):
            raise _bad_form("type must be one short word")
        return text


async def receive_upload(
    body: AsyncIterable[bytes], reader: MultipartReader, own: OwnUploads, bringer: Uploader, new_id: Ids
) -> stored.Upload:
    """Write a file from a request's body to disk as it arrives; a file that is not kept leaves nothing.

    Raises:
        HttpError: 400 or 413.
        StorageUnavailable: it was not kept.
    """
    form = _Form()
    upload_id = new_id()
    async with own.stored.receive(upload_id) as incoming:
        async for chunk in body:
            try:
                for piece in reader.feed(chunk):
                    await form.take(piece, incoming)
            except MultipartError as error:
                raise _bad_form(f"{error}") from error
        if form.file is None:
            raise _bad_form("there is no part named file")
        if not reader.complete:
            raise _bad_form("it is incomplete")
        filename = clean_name(form.file.filename or "")
        name = f"{upload_id}_{_name_on_disk(filename)}"
        upload = stored.Upload(
            name=name,
            filename=filename,
            mime_type=_mime_type(form.file.content_type),
            type=form.type(),
            size=incoming.size,
            url=bringer.base_url + own.links.sign(UPLOADS_PATH + name),
            device_id=bringer.device_id,
            created_at_ms=bringer.now_ms,
        )
        await own.stored.keep(incoming, upload)
        return upload


def _bad_form(fault: str) -> HttpError:
    return HttpError(400, "bad_request", f"Bad form: {fault}.")


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


def _name_on_disk(filename: str) -> str:
    """Return a harmless form of the name, with its ending: agents recognise files by it."""
    plain = _HARMFUL.sub("_", filename).strip("._") or "file"
    return plain if len(plain) <= KEPT_NAME else plain[: KEPT_NAME - 16] + plain[-16:].lstrip("._")


def _mime_type(header: str) -> str:
    text = header.partition(";")[0].strip().lower()
    return text if _MIME.fullmatch(text) else "application/octet-stream"
