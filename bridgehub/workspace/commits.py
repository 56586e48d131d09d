"""Writes the commit and the ref of a checkpoint as git does, without starting git.

Two programs for each checkpoint take 5 ms of a machine with two cores, in the moment in which the agent begins to work.
A commit is a file in zlib's format that is named by the hash of what is in it (gitformat-loose, "Loose objects"), and a
ref is a file with that name in it. Everything else stays git's business. Where a store keeps its refs in another way
(`extensions.refStorage`), git writes both.

Call it with the store locked: the lock takes the place of git's own lock files. Everything here blocks.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs

from bridgehub.workspace.repository import stamp_of

__all__ = ["IDENTITY", "CommitWriter"]

_NAME = "builderos"
_EMAIL = "checkpoints@localhost"

IDENTITY = {
    f"GIT_{role}_{what}": word
    for role in ("AUTHOR", "COMMITTER")
    for what, word in (("NAME", _NAME), ("EMAIL", _EMAIL))
}
"""Variables that have git write the same name."""


@attrs.define(eq=False)
class CommitWriter:
    """Writes into one store. `folder`: the store's."""

    folder: Path
    _config: tuple[object, str] = (None, "")
    _packed: tuple[str, object] | None = None
    """A tree that git found although it is in no file of its own, and the packs in which it must be."""

    def can_write(self, tree: str, *, is_new: bool) -> bool:
        """Tell whether `write` may be used for a tree.

        Args:
            is_new: git has just written or found it. Otherwise it is looked for: the person's git may have removed it.
        """
        if "refstorage" in self._read_config():
            return False
        return is_new or self._is_loose(tree) or self._packed == (tree, self._packs())

    def note_found(self, tree: str) -> None:
        """Remember that git has just found a tree. While no pack comes or goes, it is there."""
        packs = self._packs()
        self._packed = None if packs is None or self._is_loose(tree) else (tree, packs)

    def write(self, ref: str, tree: str, message: bytes) -> None:
        """Commit a tree without parents and have `ref` name that commit. The time is the file system's.

        Raises OSError: the ref is as it was.
        """
        with _making(self.folder / ref, f"{Path(ref).name}.lock", 0o644) as file:
            who = f"{_NAME} <{_EMAIL}> {int(os.fstat(file.fileno()).st_mtime)} +0000"
            body = f"tree {tree}\nauthor {who}\ncommitter {who}\n\n".encode() + message
            file.write(f"{self._write_object(b'commit', body)}\n".encode())

    def _write_object(self, kind: bytes, body: bytes) -> str:
        data = b"%b %d\0%b" % (kind, len(body), body)
        digest = hashlib.sha256 if "objectformat" in self._read_config() else hashlib.sha1
        name = digest(data, usedforsecurity=False).hexdigest()
        place = self.folder / "objects" / name[:2] / name[2:]
        if not place.exists():
            with _making(
                place, f"tmp_obj_{os.getpid()}", 0o444
            ) as file:  # git removes one that is left behind
                file.write(zlib.compress(data, 1))
        return name

    def _read_config(self) -> str:
        path = self.folder / "config"
        stamp = stamp_of(path)
        if self._config[0] != stamp:
            self._config = stamp, path.read_text(errors="replace").casefold()
        return self._config[1]

    def _is_loose(self, tree: str) -> bool:
        return any((objects / tree[:2] / tree[2:]).exists() for objects in self._objects())

    def _objects(self) -> tuple[Path, ...]:
        own = self.folder / "objects"
        try:
            borrowed = (own / "info/alternates").read_bytes()
        except OSError:
            return (own,)
        return own, Path(os.fsdecode(borrowed.rstrip(b"\n")))

    def _packs(self) -> object:
        """Return what changes with the packs; None if objects may also come from elsewhere."""
        objects = self._objects()
        if any((one / "info/alternates").exists() for one in objects[1:]):
            return None
        return tuple(stamp_of(one / "pack") for one in objects)


@contextmanager
def _making(path: Path, making: str, mode: int) -> Iterator[BinaryIO]:
    """Write a whole file in one step. What a killed process left under the other name is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(making)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
