"""Files: uploads and downloads of devices, and the long inputs and outputs of tools."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Final
from urllib.parse import quote

import attrs
import trio
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from actors.ports import Clock
from storage.data_folder import blob_path
from storage.errors import StorageUnavailable
from storage.tables.uploads import CHUNK_BYTES, Upload, UploadTable
from transport.access.signed_urls import UPLOADS_PATH, base_url
from transport.config import TransportConfig
from transport.http.multipart import MultipartError, MultipartReader, boundary_of
from transport.http.receiving import receive_upload, too_large
from transport.http.requests import check_length
from transport.http.responses import HttpError, JsonAnswer
from transport.http.services import HttpServices
from transport.ports import Device
from transport.uploads import MAX_FILE_BYTES, Uploader
from transport.v3.decode import is_id

__all__ = ["INLINE_TYPES", "SAFE_HEADERS", "UploadRoutes", "has_blob"]

FORM_BYTES: Final = 64 * 1024
"""Bytes of a form beside the file: boundaries, headers, the other parts."""

UPLOADS_AT_ONCE: Final = 8
"""Concurrent uploads of one key. Each holds a file open and up to a megabyte."""

INLINE_TYPES: Final = frozenset(
    [
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/heic", "image/heif"),
        *("image/bmp", "audio/mpeg", "audio/mp4", "audio/aac", "audio/x-m4a", "audio/wav", "audio/x-wav"),
        *("audio/ogg", "audio/webm", "audio/flac"),
    ]
)
"""Types that a browser displays itself and that cannot contain a script."""

_RANGE: Final = re.compile(rb"bytes=([0-9]{1,15})-([0-9]{0,15})")

SAFE_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}


@attrs.frozen
class UploadRoutes:
    """The routes of files."""

    services: HttpServices
    clock: Clock
    config: TransportConfig
    _running: Counter[str] = attrs.field(factory=Counter)
    _coming: Counter[str] = attrs.field(factory=Counter)

    async def upload(self, request: Request, device: Device) -> Response:
        """Receive a file."""
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
        except MultipartError as error:
            raise HttpError(400, "bad_request", f"Bad form: {error}.") from error
        if boundary is None:
            raise HttpError(415, "unsupported_media_type", "The body must be multipart/form-data.")
        check_length(request, MAX_FILE_BYTES + FORM_BYTES, too_large())
        if self._running[device.id] >= UPLOADS_AT_ONCE:
            raise HttpError(429, "too_many", "Too many uploads at once.")
        coming = int(request.headers.get("content-length") or MAX_FILE_BYTES)
        self._running[device.id] += 1
        self._coming.update({"files": 1, "bytes": coming})
        try:
            await self._check_room()
            base = base_url(request.scope["scheme"], request.headers)
            bringer = Uploader(device.id, base, self.clock())
            own, new_id = self.services.uploads, self.services.new_id
            async with aclosing(request.stream()) as body:
                kept = await receive_upload(body, MultipartReader(boundary), own, bringer, new_id)
        finally:
            self._coming.subtract({"files": 1, "bytes": coming})
            self._running[device.id] -= 1
            if not self._running[device.id]:
                del self._running[device.id]
        return JsonAnswer(
            {
                "ok": True,
                "url": kept.url,
                "path": UPLOADS_PATH + kept.name,
                "filename": kept.filename,
                "size": kept.size,
                "type": kept.type,
            }
        )

    async def _check_room(self) -> None:
        """Refuse an upload without enough room beside the stored files and other uploads. Raises HttpError."""
        files, size = await self.services.uploads.stored.usage()
        if files + self._coming["files"] > self.config.max_uploads:
            raise HttpError(
                409, "uploads_full", f"There are {files} files already; delete some sessions first."
            )
        if size + self._coming["bytes"] > self.config.max_uploads_bytes:
            raise HttpError(
                409, "uploads_full", f"The files take {size} bytes already; delete some sessions first."
            )

    async def download(self, request: Request, _: Device | None) -> Response:
        """Return a file."""
        name = request.path_params["name"]
        stored = self.services.uploads.stored
        upload = await stored.find(name)
        path = stored.path_of(name)
        if upload is None or path is None:
            raise HttpError(404, "not_found", "There is no such file.")
        shown = _shown(upload.filename, upload.mime_type)
        _forget_bad_range(request, upload.size)
        if await trio.to_thread.run_sync(_size_of, path) is None:
            return _Parts(stored, upload, request, shown)
        return FileResponse(path, media_type=shown["Content-Type"], headers=shown)

    async def blob(self, request: Request, _: Device | None) -> Response:
        """Return a tool's long input or output."""
        session_id, digest = request.path_params["session"], request.path_params["digest"]
        path = _blob(self.services.data, session_id, digest)
        size = None if path is None else await trio.to_thread.run_sync(_size_of, path)
        if path is None or size is None:
            raise HttpError(404, "not_found", "There is no such file on this machine.")
        shown = _shown(f"{digest}.txt", "text/plain")
        _forget_bad_range(request, size)
        return FileResponse(path, media_type=shown["Content-Type"], headers=shown)


async def has_blob(data: Path, session_id: str, digest: str) -> bool:
    """Return whether this machine has a blob."""
    path = _blob(data, session_id, digest)
    return path is not None and await trio.to_thread.run_sync(_size_of, path) is not None


def _blob(data: Path, session_id: str, digest: str) -> Path | None:
    return blob_path(data, session_id, digest) if is_id(session_id) else None


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _shown(filename: str, mime_type: str) -> dict[str, str]:
    """Return the headers that say what a file is, and how a browser may show it."""
    inline = mime_type in INLINE_TYPES
    kind = "inline" if inline else "attachment"
    return {
        **SAFE_HEADERS,
        "Content-Type": mime_type if inline else "application/octet-stream",
        "Content-Disposition": f"{kind}; filename*=utf-8''{quote(filename, safe='')}",
    }


class _Parts(Response):
    """An upload from the database, or the range of it that is asked for."""

    def __init__(self, stored: UploadTable, upload: Upload, request: Request, shown: dict[str, str]) -> None:
        self._stored, self._upload = stored, upload
        self._start, self._end = 0, upload.size
        asked = _RANGE.fullmatch(request.headers.get("range", "").encode())
        status, headers = 200, {**shown, "Accept-Ranges": "bytes"}
        if asked is not None and "if-range" not in request.headers:
            self._start = int(asked[1])
            self._end = min(int(asked[2]) + 1 if asked[2] else upload.size, upload.size)
            headers["Content-Range"] = f"bytes {self._start}-{self._end - 1}/{upload.size}"
            status = 206
        super().__init__(None, status, {**headers, "Content-Length": str(self._end - self._start)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        at = self._start
        while at < self._end:
            number, skipped = divmod(at, CHUNK_BYTES)
            part = await self._stored.part(self._upload.name, number)
            if part is None or len(part) <= skipped:
                raise StorageUnavailable(f"upload {self._upload.name}: it was removed meanwhile")
            body = part[skipped : skipped + self._end - at]
            at += len(body)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _forget_bad_range(request: Request, size: int) -> None:
    """Remove a Range that asks for anything but one valid range: the whole file is a correct answer too."""
    headers = request.scope["headers"]
    ranges = [value for name, value in headers if name == b"range"]
    asked = _RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if asked is None or int(asked[1]) >= size or (asked[2] and int(asked[2]) < int(asked[1])):
        request.scope["headers"] = [(name, value) for name, value in headers if name != b"range"]
