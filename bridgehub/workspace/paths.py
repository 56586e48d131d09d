"""Paths below a folder, followed so that none leaves it; and which folders are never saved.

Each step opens the next folder by the descriptor of the one before and follows no link by itself: a link is read,
and its target is walked the same way. So a path that is exchanged for a link in the middle of the walk leads nowhere.
Everything here blocks and is called on a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import attrs

__all__ = [
    "MAX_PATH_CHARS",
    "Found",
    "PathCode",
    "PathRefused",
    "check_path",
    "followed",
    "open_file",
    "open_folder",
    "refusal_of_workspace",
    "shown",
]

MAX_PATH_CHARS = 4096
"""Characters of a path that anybody may give."""

MAX_LINKS = 40
"""Links that one path may lead through, as many as the kernel follows."""

PathCode = Literal["bad_path", "outside", "missing", "not_a_file", "not_a_folder", "unreadable"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PathRefused(Exception):
    """A path cannot be used. `code` says why, for a program; the text is for a person."""

    def __init__(self, code: PathCode, content: str) -> None:
        super().__init__(content)
        self.code = code


@attrs.frozen
class Found:
    """Where a path leads: `name` in the folder behind `parent`, which is never a link; empty for the root itself.

    `parent` is open only inside `followed`.
    """

    parent: int
    name: str
    stat: os.stat_result


def check_path(path: str) -> None:
    """Refuse a path that cannot be one below a folder, before anything is looked at. Raises PathRefused."""
    if len(path) > MAX_PATH_CHARS:
        raise PathRefused("bad_path", f"The path is over {MAX_PATH_CHARS} characters.")
    if "\0" in path:
        raise PathRefused("bad_path", "The path has a null character.")
    if path.startswith("/"):
        raise PathRefused("outside", "The path must be relative to the workspace.")


def shown(name: bytes | str) -> str:
    """Return a file's name as text for a person: bytes that are not UTF-8 become U+FFFD."""
    raw = os.fsencode(name) if isinstance(name, str) else name
    return raw.decode("utf-8", "replace")


@contextmanager
def followed(root: str, path: str) -> Iterator[Found]:
    """Follow `path` below the folder `root` to its end; links are followed as long as they stay below it.

    Raises:
        PathRefused: it leaves `root`, is not there, or leads through too many links.
    """
    check_path(path)
    real = os.path.realpath(root)
    walk = _Walk(real, path)
    try:
        yield walk.run()
    finally:
        walk.close()


@attrs.define(eq=False)
class _Walk:
    root: str
    path: str
    _opened: list[int] = attrs.field(factory=list)
    _links: int = 0

    def run(self) -> Found:
        try:
            self._opened.append(os.open(self.root, _FOLDER))
        except OSError as exc:
            raise PathRefused("missing", "The workspace's folder is not there.") from exc
        try:
            return self._follow()
        except OSError as exc:
            raise _refusal(exc) from exc

    def close(self) -> None:
        for descriptor in self._opened:
            os.close(descriptor)

    def _follow(self) -> Found:
        waiting = self.path.split("/")[::-1]
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                self._up()
                continue
            found = os.stat(name, dir_fd=self._opened[-1], follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                waiting += self._target(name).split("/")[::-1]
            elif not any(part not in ("", ".") for part in waiting):
                if waiting and not stat.S_ISDIR(found.st_mode):
                    raise PathRefused("missing", "There is no such file.")
                return Found(self._opened[-1], name, found)
            else:
                self._opened.append(os.open(name, _FOLDER, dir_fd=self._opened[-1]))
        here = self._opened[-1]
        return Found(here, "", os.fstat(here))

    def _up(self) -> None:
        if len(self._opened) == 1:
            raise PathRefused("outside", "The path leaves the workspace.")
        os.close(self._opened.pop())

    def _target(self, name: str) -> str:
        self._links += 1
        if self._links > MAX_LINKS:
            raise PathRefused("outside", "The path leads through too many links.")
        target = os.readlink(name, dir_fd=self._opened[-1])
        if not target.startswith("/"):
            return target
        if target != self.root and not target.startswith(self.root.rstrip("/") + "/"):
            raise PathRefused("outside", "The path leaves the workspace by a link.")
        while len(self._opened) > 1:
            os.close(self._opened.pop())
        return target[len(self.root) :]


def _refusal(exc: OSError) -> PathRefused:
    if exc.errno in (errno.EACCES, errno.EPERM):
        return PathRefused("unreadable", "The server may not read that.")
    return PathRefused("missing", "There is no such file.")


def open_file(root: str, path: str) -> tuple[int, os.stat_result]:
    """Open a regular file below `root` for reading; the caller closes the descriptor.

    Raises:
        PathRefused: as `followed`, or it is not a regular file.
    """
    with followed(root, path) as found:
        if not stat.S_ISREG(found.stat.st_mode):
            raise PathRefused("not_a_file", "That is no file.")
        try:
            descriptor = os.open(found.name, _FILE, dir_fd=found.parent)
        except OSError as exc:
            raise _refusal(exc) from exc
    told = os.fstat(descriptor)
    if not stat.S_ISREG(told.st_mode):
        os.close(descriptor)
        raise PathRefused("not_a_file", "That is no file.")
    return descriptor, told


@contextmanager
def open_folder(root: str, path: str) -> Iterator[int]:
    """Open a folder below `root`, for `os.scandir`. Raises PathRefused."""
    with followed(root, path) as found:
        if not stat.S_ISDIR(found.stat.st_mode):
            raise PathRefused("not_a_folder", "That is no folder.")
        try:
            descriptor = os.open(found.name or ".", _FOLDER, dir_fd=found.parent)
        except OSError as exc:
            raise _refusal(exc) from exc
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            os.close(descriptor)


def refusal_of_workspace(workspace: str, home: str, data: str) -> str:
    """Return why a folder gets no checkpoints, for a person; empty if it gets them.

    What holds the person's whole life, or our data folder, is never saved. Blocks.
    """
    real = os.path.realpath(workspace)
    if real == "/":
        return "the root of the file system is no workspace"
    if home and real == os.path.realpath(home):
        return "the home folder is no workspace"
    if os.path.commonpath([real, os.path.realpath(data)]) == real:
        return "the data folder lies in it"
    return "" if os.path.isdir(real) else "it is not there"
