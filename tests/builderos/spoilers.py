"""Ways in which a file that should be a backup is none, or none that can be restored."""

from __future__ import annotations

import os
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

__all__ = ["SPOILERS"]


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def cut_the_end(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 11_000)


def flip(file: Path) -> None:
    """Change a byte of the database's content, so that the archive itself stays readable."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def other(file: Path) -> None:
    file.write_text("this is a letter\n" * 1000)


def foreign(file: Path) -> None:
    """A tar that would write elsewhere."""
    with tarfile.open(file, "w") as tar:
        tar.add(__file__, "../../escape.py")


def linked(file: Path) -> None:
    with tarfile.open(file, "w") as tar:
        info = tarfile.TarInfo("api-key")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)


def no_database_of_ours(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE t (a)")


def newer(file: Path) -> None:
    with tarfile.open(file) as tar:
        database = tar.extractfile("builderos.db")
        assert database is not None
        content = database.read()
    file.write_bytes(content)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA user_version = 1000")


def missing(file: Path) -> None:
    file.unlink()


SPOILERS = (cut, cut_the_end, flip, empty, other, foreign, linked, no_database_of_ours, newer, missing)
"""Each changes a good backup in its place."""
