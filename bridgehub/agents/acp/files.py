"""The files that an agent has us read and write: inside the workspace, links followed, bounded. Blocks: use a thread."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from bridgehub.agents.codex.protocol import Fields

__all__ = ["MAX_FILE_BYTES", "BadFile", "read_file", "resolve", "write_file"]

MAX_FILE_BYTES = 8 * 1024 * 1024
"""Of a file that is read or written."""

MAX_PATH_CHARS = 4096


class BadFile(Exception):
    """The agent cannot have that file; the text says why."""


def resolve(given: str, workspace: str) -> Path:
    """Return the real path of a file in the workspace, which need not be there.

    Raises:
        BadFile: it is outside, also by a link, or no path.
    """
    if not given or len(given) > MAX_PATH_CHARS or "\0" in given:
        raise BadFile("that is no path")
    try:
        root = Path(workspace).resolve(strict=True)
        path = (root / given).resolve()
    except (OSError, RuntimeError) as error:
        raise BadFile("the path cannot be followed") from error
    if path == root or not path.is_relative_to(root):
        raise BadFile("the file is outside the workspace")
    return path


def read_file(path: Path, params: Fields) -> str:
    """Return a file's text, or those lines of it that are asked for. Raises BadFile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadFile("that is no file")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadFile(error.strerror or "the file cannot be read") from error
    if len(data) > MAX_FILE_BYTES:
        raise BadFile(f"the file is over {MAX_FILE_BYTES} bytes")
    text = data.decode(errors="replace")
    line, limit = params.count("line"), params.count("limit")
    if line is None and limit is None:
        return text
    first = max(0, (line or 1) - 1)
    last = None if limit is None else first + max(0, limit)
    return "".join(text.splitlines(keepends=True)[first:last])


def write_file(path: Path, content: str, workspace: str) -> None:
    """Write a file whole: it is there as it was, or as it is to be. Folders that are missing are made. Raises BadFile."""
    data = content.encode(errors="replace")
    if len(data) > MAX_FILE_BYTES:
        raise BadFile(f"the text is over {MAX_FILE_BYTES} bytes")
    new = path.with_name(f".{path.name[:200]}.builderos-new")
    try:
        if path.exists() and not path.is_file():
            raise BadFile("that is no file")
        path.parent.mkdir(parents=True, exist_ok=True)
        resolve(str(path), workspace)  # a link may have come in between
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666
        with suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                if path.exists():
                    os.fchmod(file.fileno(), mode)
            os.replace(new, path)
        except BaseException:
            with suppress(OSError):
                new.unlink()
            raise
    except OSError as error:
        raise BadFile(error.strerror or "the file cannot be written") from error
