"""A SQLite VFS over a disk whose power can fail: what was written and not synced is kept apart.

The files themselves always have everything, as a page cache shows it. Beside them stands, for each file, what is
certainly on the disk (all up to its last sync) and what was written since. A cut writes down what a machine would
find after it: the certain part, and of the rest nothing, all, or any sectors, each by itself and in no order. The
note of the newest mark, which lies beside a database, is on the disk as soon as it has its name.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Literal

import apsw
import attrs

from storage.sqlite.commit_mark import MARK_NAME

__all__ = ["Cut", "Power", "Rest", "failing_power"]

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

Rest = Literal["lost", "kept", "torn"]
"""What becomes of what was not synced."""

_numbers = count(1)


@attrs.define(eq=False)
class _Image:
    """One file: what is on the disk for sure, and each write (offset, bytes) or new length since."""

    certain: bytearray
    since: list[tuple[int, bytes] | int] = attrs.field(factory=list)

    def after_cut(self, rest: Rest, dice: random.Random) -> bytes:
        content = bytearray(self.certain)
        if rest == "kept":
            _apply(content, self.since)
        elif rest == "torn":
            _apply(content, [part for part in _sectors(self.since) if dice.random() < 0.5])
        return bytes(content)


@attrs.frozen
class Cut:
    """What a machine finds after its power failed: the files by name, and what its witness knew at that moment."""

    files: dict[str, bytes]
    rest: Rest
    known: int

    def write_to(self, folder: Path) -> None:
        """Put the files into a new folder."""
        folder.mkdir()
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


@attrs.define(eq=False)
class Power:
    """The disk under all databases that are opened with `vfs=power.name`.

    Attributes:
        dice: decides which moments become cuts, and what survives them.
        witness: called at a cut, on whatever thread writes: how much had been promised by then.
        chance: how likely a write is a cut; each sync is one, before and after it, three times as likely.
        cuts: so far, at most `most`.
    """

    name: str
    dice: random.Random
    witness: Callable[[], int]
    chance: float = 0.1
    most: int = 100
    cuts: list[Cut] = attrs.field(factory=list)
    syncs: int = 0
    _images: dict[str, _Image] = attrs.field(factory=dict)
    _lock: threading.RLock = attrs.field(factory=threading.RLock)

    def opened(self, path: str) -> None:
        """Begin to keep a file; what it has now is on the disk."""
        with self._lock:
            if path not in self._images:
                found = Path(path)
                self._images[path] = _Image(bytearray(found.read_bytes() if found.exists() else b""))

    def changed(self, path: str, change: tuple[int, bytes] | int) -> None:
        """Note what is written or cut off, and maybe fail."""
        with self._lock:
            self._images[path].since.append(change)
            self._maybe_cut(self.chance)

    def synced(self, path: str) -> None:
        """Note that all of a file is on the disk now, and maybe fail just before or after."""
        with self._lock:
            self._maybe_cut(self.chance * 3)
            image = self._images[path]
            _apply(image.certain, image.since)
            image.since.clear()
            self.syncs += 1
            self._maybe_cut(self.chance * 3)

    def deleted(self, path: str) -> None:
        """Forget a file."""
        with self._lock:
            self._images.pop(path, None)

    def _maybe_cut(self, chance: float) -> None:
        if len(self.cuts) >= self.most or self.dice.random() >= chance:
            return
        rest: Rest = self.dice.choice(["lost", "torn", "torn", "kept"])
        files = {Path(path).name: image.after_cut(rest, self.dice) for path, image in self._images.items()}
        for note in {Path(path).with_name(MARK_NAME) for path in self._images}:
            if note.exists():
                files[MARK_NAME] = note.read_bytes()
        self.cuts.append(Cut(files, rest, self.witness()))


def _apply(content: bytearray, changes: list[tuple[int, bytes] | int]) -> None:
    for change in changes:
        if isinstance(change, int):
            del content[change:]
            continue
        offset, data = change
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def _sectors(changes: list[tuple[int, bytes] | int]) -> Iterator[tuple[int, bytes] | int]:
    for change in changes:
        if isinstance(change, int):
            yield change
            continue
        offset, data = change
        start = 0
        while start < len(data):
            end = min(len(data), start + SECTOR - (offset + start) % SECTOR)
            yield offset + start, data[start:end]
            start = end


class _File(apsw.VFSFile):
    def __init__(self, power: Power, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._power = power
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        power.opened(self._path)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._power.changed(self._path, (offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._power.changed(self._path, newsize)

    def xSync(self, flags: int) -> None:
        # The real disk is not asked: nothing here outlives the process.
        self._power.synced(self._path)


class _Vfs(apsw.VFS):
    def __init__(self, power: Power) -> None:
        super().__init__(power.name, "")
        self._power = power

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self._power, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self._power.deleted(filename)


@contextmanager
def failing_power(dice: random.Random, witness: Callable[[], int], *, most: int = 100) -> Iterator[Power]:
    """Register a VFS for the length of the block."""
    power = Power(f"power-{next(_numbers)}", dice, witness, most=most)
    vfs = _Vfs(power)
    try:
        yield power
    finally:
        vfs.unregister()
