"""Reads and writes files for an agent: inside the workspace, links resolved, bounded. Blocks: use a thread."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from bridgehub.agents.json_rpc.messages import Fields

__all__ = ["MAX_FILE_BYTES", "BadFile", "read_file", "resolve", "write_file"]

MAX_FILE_BYTES = 8 * 1024 * 1024
"""Bytes of a file that is read or written."""

MAX_PATH_CHARS = 4096


class BadFile(Exception):
    """The agent cannot have that file. The text says why."""


def resolve(given: str, workspace: str) -> Path:
    """Return the real path of a file in the workspace. The file need not exist.

    Raises:
        BadFile: it is not a path, or it leads outside the workspace, possibly through a link.
    """
    if not given or len(given) > MAX_PATH_CHARS or "\0" in given:
        raise BadFile("that is not a path")
    try:
        root = Path(workspace).resolve(strict=True)
        path = (root / given).resolve()
    except (OSError, RuntimeError) as error:
        raise BadFile("the path cannot be followed") from error
    if path == root or not path.is_relative_to(root):
        raise BadFile("the file is outside the workspace")
    return path


def read_file(path: Path, params: Fields) -> str:
    """Return a file's text, or the requested lines of it. Raises BadFile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadFile("that is not a file")
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
    """Replace or create a file atomically, with its missing folders. Raises BadFile."""
    data = content.encode(errors="replace")
    if len(data) > MAX_FILE_BYTES:
        raise BadFile(f"the text is over {MAX_FILE_BYTES} bytes")
    new = path.with_name(f".{path.name[:200]}.builderos-new")
    try:
        if path.exists() and not path.is_file():
            raise BadFile("that is not a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        resolve(str(path), workspace)  # a link may have been created in between
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
