"""Receives a file from a request's form and stores it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from typing import Final

import attrs

from actors.ports import Ids
from storage.tables import uploads as stored
from transport.access.signed_urls import UPLOADS_PATH
from transport.http.multipart import Data, MultipartError, MultipartReader, PartBegins, Piece
from transport.http.responses import HttpError
from transport.uploads import MAX_FILE_BYTES, OwnUploads, Uploader, clean_name, mime_type, name_on_disk

__all__ = ["receive_upload", "too_large"]

MAX_TYPE: Final = 32
MAX_FIELD_BYTES: Final = 1024

_TYPE: Final = re.compile(rf"[a-z0-9_-]{{1,{MAX_TYPE}}}")


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
        name = f"{upload_id}_{name_on_disk(filename)}"
        upload = stored.Upload(
            name=name,
            filename=filename,
            mime_type=mime_type(form.file.content_type),
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
