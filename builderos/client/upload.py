"""Uploads a file to a server, a piece at a time, so that the next message can name it."""

from __future__ import annotations

import mimetypes
import os
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from builderos.client.state import RefusedError
from builderos.client.wire.http import answer_to
from builderos.client.wire.server import LinkLostError, Server

__all__ = ["MAX_FILE_BYTES", "upload"]

MAX_FILE_BYTES: Final = 50_000_000
"""The server takes no longer file (PROTOCOL.md, `POST /api/files/upload`)."""

UPLOAD_S: Final = 120.0
"""How long the server may take to answer, and the network to take a piece."""

_PIECE: Final = 256 * 1024


def upload(server: Server, path: Path, boundary: str) -> str:
    """Upload a file and return the address by which a message names it. Blocks.

    `boundary` stands between the parts (RFC 2046 5.1.1): a word that no file has, such as a new id.

    Raises:
        RefusedError: it is not a file, cannot be read or is too long, or the server refuses it.
        LinkLostError: the server cannot be reached, or its answer makes no sense.
    """
    try:
        with open(
            os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb"
        ) as file:  # a pipe would wait
            told = os.fstat(file.fileno())
            if not stat.S_ISREG(told.st_mode):
                raise RefusedError("not_a_file", f"{path} is not a file.")
            if told.st_size > MAX_FILE_BYTES:
                raise RefusedError("too_large", f"{path.name} is over 50 MB.")
            answer = answer_to(server, _request(server, path, file, told.st_size, boundary), UPLOAD_S)
    except OSError as error:
        raise RefusedError("unreadable", f"{path} cannot be read: {error.strerror}.") from error
    url = answer.get("url")
    if not isinstance(url, str):
        raise LinkLostError(f"the answer of {server.url} names no file")
    return url


def _request(server: Server, path: Path, file: BinaryIO, size: int, boundary: str) -> urllib.request.Request:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    name = path.name.translate({ord(one): "_" for one in '"\\\r\n'})
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode(errors="replace")
    what = "image" if kind.startswith("image/") else "file"
    tail = (
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="type"\r\n\r\n{what}\r\n--{boundary}--\r\n'
    ).encode()
    headers = {
        "X-API-Key": server.key,
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + size + len(tail)),
    }
    return urllib.request.Request(
        f"{server.url}/api/files/upload", data=_pieces(head, file, size, tail), headers=headers, method="POST"
    )


def _pieces(head: bytes, file: BinaryIO, size: int, tail: bytes) -> Iterator[bytes]:
    """Give exactly as many bytes as were announced, also if the file grows meanwhile."""
    yield head
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        size -= len(piece)
        yield piece
    yield tail
