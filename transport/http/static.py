"""The files of the web client, read once.

A name outside the folder cannot be requested: a request only looks up a path among the files that were read.
Of modules and styles, comments and spaces for the eye are not sent; every line keeps its number.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs

__all__ = ["WEB_FOLDER", "WebFile", "read_web_files", "without_comments", "without_spaces"]

WEB_FOLDER: Final = Path(__file__).parents[1] / "web"

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one file, since all of them stay in memory. The client is a twentieth of that."""

_INDEX: Final = "index.html"

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""The served types; a file of another type is not part of the client."""

_COMMENTED: Final = frozenset({".css", ".js"})

_MANIFEST: Final = "manifest.json"


@attrs.frozen
class WebFile:
    """One file.

    Attributes:
        path: the served path; begins with a slash.
        etag: with its quotes; differs for other content.
    """

    path: str
    media_type: str
    etag: str
    body: bytes = attrs.field(repr=False)


def read_web_files(folder: Path) -> tuple[WebFile, ...]:
    """Return the served files of a folder, sorted by path, `index.html` under `/` as well. Blocks.

    A missing folder has no files. Hidden files, unknown types and files over `MAX_FILE_BYTES` are left out.
    """
    found: list[WebFile] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        media_type = "application/manifest+json" if path.name == _MANIFEST else _TYPES.get(path.suffix)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or media_type is None or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        body = _served(path)
        etag = f'"{sha256(body).hexdigest()[:32]}"'
        found.append(WebFile(f"/{name.as_posix()}", media_type, etag, body))
        if name.as_posix() == _INDEX:
            found.append(WebFile("/", media_type, etag, body))
    return tuple(sorted(found, key=lambda file: file.path))


def _served(path: Path) -> bytes:
    body = path.read_bytes()
    if path.suffix not in _COMMENTED:
        return body
    return without_spaces(without_comments(body.decode()), path.suffix).encode()


_CAST: Final = re.compile(r"/\*\* @type \{[^*\n]*\} \*/ ?")
"""A cast: it gives the type checker the type of one expression, inside a line."""


_TEXT: Final = frozenset("'`/\\")
"""A line with one of these may hold a pattern, a comment, or a text whose end is hard to find."""

_IMPORT: Final = re.compile(r'(?P<names>(?:import |export )?[\w*{}, ]+) from (?P<path>"[^"]*";)')
"""An import, or its last line."""

_STRING: Final = re.compile(r'("[^"]*")')
"""A text in double quotes, in a line without any of `_TEXT`."""

_SIGNS: Final = {
    ".js": re.compile(r" ?(?:=>|===|!==|&&|\|\||[=,;{}()<>*]) ?"),
    ".css": re.compile(r" ?[{};,>] ?|: "),
}


def without_spaces(source: str, suffix: str) -> str:
    """Return JavaScript or CSS without the spaces around signs that only help the eye, on the same lines.

    Texts in double quotes stay, and so do lines with anything else in which a space may mean something. In CSS a colon
    is a sign only before a space: without it, it begins a pseudo-class.
    """
    sign = _SIGNS[suffix]
    return "\n".join(_closed_up(line, sign) for line in source.split("\n"))


def _closed_up(line: str, sign: re.Pattern[str]) -> str:
    if found := _IMPORT.fullmatch(line):
        names = sign.sub(_without, found["names"])
        return f"{names}{'' if names.endswith('}') else ' '}from{found['path']}"
    if not _TEXT.isdisjoint(line) or line.count('"') % 2:
        return line
    parts = _STRING.split(line)
    parts[::2] = [sign.sub(_without, part) for part in parts[::2]]
    return "".join(parts)


def _without(found: re.Match[str]) -> str:
    return found[0].strip()


def without_comments(source: str) -> str:
    """Return JavaScript or CSS without comments that begin a line, without casts, and without indentation.

    All else stays, also comments after code: to tell those from a text with `//` takes a parser. A template literal
    must not have a line that begins like a comment or with a space; the client has no multi-line literals.
    """
    lines: list[str] = []
    inside = False
    for line in source.split("\n"):
        text = line.lstrip()
        if not inside and text.startswith("//"):
            lines.append("")
        elif inside or text.startswith("/*"):
            _, end, rest = text.partition("*/")
            inside = not end
            lines.append(rest.strip())
        else:
            lines.append(_CAST.sub("", text).strip())
    return "\n".join(lines)
