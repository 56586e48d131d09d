"""Reads one file of a workspace, as text if it is text, else as bytes, and finds its language by its name.

Reading blocks: it is called on threads.
"""

from __future__ import annotations

import os
from typing import Final

import attrs

from bridgehub.workspace.paths import open_file

__all__ = ["MAX_TEXT_BYTES", "OpenFile", "as_text", "language_of", "open_for_reading"]

MAX_TEXT_BYTES: Final = 1024 * 1024
"""A longer text is a download."""


@attrs.define(eq=False)
class OpenFile:
    """An open file, or one that was read: its text if it is text, else its bytes, in `data` or still to be read."""

    size: int
    text: str | None
    descriptor: int = -1
    data: bytes = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes; empty at the end. Blocks."""
        if self.descriptor >= 0:
            return os.read(self.descriptor, size)
        chunk, self.data = self.data[:size], self.data[size:]
        return chunk

    def close(self) -> None:
        """Close it. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_for_reading(root: str, path: str) -> OpenFile:
    """Open a regular file below `root`. Raises PathRefused."""
    descriptor, told = open_file(root, path)
    try:
        text = None
        if told.st_size <= MAX_TEXT_BYTES:
            text = as_text(_read_start(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    if text is None:
        return OpenFile(told.st_size, None, descriptor)  # `pread` left it at its beginning
    os.close(descriptor)
    return OpenFile(told.st_size, text)


def _read_start(descriptor: int) -> bytes:
    """Read at most one byte more than a text may have: the file may grow during the read."""
    got = bytearray()
    while len(got) <= MAX_TEXT_BYTES:
        chunk = os.pread(descriptor, MAX_TEXT_BYTES + 1 - len(got), len(got))
        if not chunk:
            break
        got += chunk
    return bytes(got)


def as_text(data: bytes) -> str | None:
    """Return bytes as text; None if they are not text, or too many."""
    if len(data) > MAX_TEXT_BYTES or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


_NAMES: Final = {
    "dockerfile": "docker",
    "makefile": "make",
    "gnumakefile": "make",
    "cmakelists.txt": "cmake",
    ".bashrc": "bash",
    ".profile": "bash",
    ".zshrc": "zsh",
    ".gitconfig": "ini",
    "gemfile": "ruby",
    "rakefile": "ruby",
}

_ENDINGS: Final = {
    "bash": "bash", "sh": "bash", "zsh": "zsh", "fish": "fish", "bat": "bat", "ps1": "powershell",
    "c": "c", "h": "c", "cc": "cpp", "cpp": "cpp", "cxx": "cpp", "hpp": "cpp", "hh": "cpp", "m": "objective-c",
    "mm": "objective-c++", "cs": "csharp", "css": "css", "scss": "scss", "less": "less", "clj": "clojure",
    "dart": "dart", "diff": "diff", "patch": "diff", "ex": "elixir", "exs": "elixir", "erl": "erlang", "go": "go",
    "gradle": "groovy", "groovy": "groovy", "hs": "haskell", "html": "html", "htm": "html", "ini": "ini",
    "cfg": "ini", "toml": "toml", "java": "java", "js": "javascript", "mjs": "javascript", "cjs": "javascript",
    "jsx": "jsx", "json": "json", "jsonl": "json", "jl": "julia", "kt": "kotlin", "kts": "kotlin", "lua": "lua",
    "md": "markdown", "markdown": "markdown", "ml": "ocaml", "mk": "make", "nix": "nix", "pl": "perl", "pm": "perl",
    "php": "php", "proto": "protobuf", "py": "python", "pyi": "python", "r": "r", "rb": "ruby", "rs": "rust",
    "rst": "rst", "scala": "scala", "sql": "sql", "svelte": "html", "swift": "swift", "tf": "terraform",
    "tex": "latex", "ts": "typescript", "tsx": "tsx", "vim": "vim", "vue": "html", "xml": "xml", "svg": "xml",
    "plist": "xml", "yaml": "yaml", "yml": "yaml", "zig": "zig",
}  # fmt: skip


def language_of(name: str) -> str:
    """Return the name of a file's language, for syntax colouring; empty if it is unknown."""
    plain = name.rpartition("/")[2].casefold()
    return _NAMES.get(plain) or _ENDINGS.get(plain.rpartition(".")[2] if "." in plain else "", "")
