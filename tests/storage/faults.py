"""A real SQLite VFS between the database and the file system that counts fsyncs and can let the disk fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import attrs

__all__ = ["Disk", "faulty_disk"]


@attrs.define(eq=False)
class Disk:
    """What happens to the WAL of a database opened with `vfs=disk.name`.

    Attributes:
        wal_syncs: fsyncs so far.
        fail_sync, fail_write: raised at the next fsync or write, and all later ones, while set.
    """

    name: str
    wal_syncs: int = 0
    fail_sync: type[apsw.Error] | None = None
    fail_write: type[apsw.Error] | None = None


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._is_wal = bool(flags[0] & apsw.SQLITE_OPEN_WAL)

    def xSync(self, flags: int) -> None:
        if self._is_wal:
            if self._disk.fail_sync is not None:
                raise self._disk.fail_sync
            self._disk.wal_syncs += 1
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._is_wal and self._disk.fail_write is not None:
            raise self._disk.fail_write
        super().xWrite(data, offset)


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.name, "")
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self._disk, name, flags)


@contextmanager
def faulty_disk() -> Iterator[Disk]:
    """Register a VFS for the length of the block."""
    disk = Disk("faulty")
    vfs = _Vfs(disk)
    try:
        yield disk
    finally:
        vfs.unregister()
