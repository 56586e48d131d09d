"""Cuts a multipart body into its parts as it arrives. Keeps at most one small field in memory.

The parser is python-multipart's, which Starlette uses too. Starlette's form reader is not used, since it would first
write each file to the temporary folder, and check its size last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

__all__ = ["Data", "MultipartError", "MultipartReader", "PartBegins", "PartEnds", "boundary_of"]

MAX_HEADER_BYTES: Final = 8 * 1024
"""Bytes of one part's headers together; ours have three short ones."""

MAX_PARTS: Final = 16
MAX_BOUNDARY: Final = 200


class MultipartError(Exception):
    """The body is not a valid multipart body."""


@attrs.frozen
class PartBegins:
    """The headers of a part. `filename` is None if it is not a file."""

    name: str
    filename: str | None
    content_type: str


@attrs.frozen
class Data:
    """The next bytes of the part."""

    data: bytes


@attrs.frozen
class PartEnds:
    """The part is complete."""


Piece = PartBegins | Data | PartEnds


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary between the parts; None if this is not a multipart form. Raises MultipartError."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise MultipartError("the boundary is missing or too long")
    return boundary


class MultipartReader:
    """Pass each chunk to `feed` and take the pieces: `for piece in reader.feed(chunk)`."""

    def __init__(self, boundary: bytes) -> None:
        self._pieces: list[Piece] = []
        self._headers: dict[bytes, bytes] = {}
        self._field = bytearray()
        self._value = bytearray()
        self._header_bytes = 0
        self._parts = 0
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
        )

    @property
    def complete(self) -> bool:
        """Whether the closing boundary arrived."""
        return self._complete

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Return the pieces that end in `data`. Raises MultipartError."""
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise MultipartError("the body is not a multipart form") from error
        pieces, self._pieces = self._pieces, []
        return iter(pieces)

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MultipartError(f"there are over {MAX_PARTS} parts")
        self._headers = {}
        self._header_bytes = 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise MultipartError("the headers of a part are too long")

    def _on_header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise MultipartError("a part has no name")
        filename = options.get(b"filename")
        self._pieces.append(
            PartBegins(
                options[b"name"].decode("utf-8", "replace"),
                None if filename is None else filename.decode("utf-8", "replace"),
                self._headers.get(b"content-type", b"").decode("latin-1"),
            )
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(Data(data[start:end]))

    def _on_part_end(self) -> None:
        self._pieces.append(PartEnds())

    def _on_end(self) -> None:
        self._complete = True
