"""Detects lost commits.

SQLite reads a WAL up to its first damaged frame and drops the rest without an error. So while there are commits, a mark
is committed durably, at most once in `MARK_S`; then its number is written to a file beside the database. The file is
never ahead of a database that has all its commits. If it is, the WAL was damaged, or an older copy replaced the
database.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import apsw
import attrs
import trio

from storage.errors import StorageError
from storage.sqlite.connection import named_os_errors
from storage.sqlite.replace import sync_folder, write_note
from storage.sqlite.writer import Writer
from storage.transaction import Transaction

__all__ = [
    "MARK_NAME",
    "MARK_S",
    "CommitMarks",
    "LostCommits",
    "find_lost_commits",
    "forget_noted_mark",
    "set_mark",
]

MARK_NAME: Final = "commit-head"
"""The file's name in the data folder."""

MARK_S: Final = 1.0
"""Seconds from a commit to its mark: a loss of commits since the last mark can go unnoticed."""

NOTE_BYTES: Final = 64
MAX_MARK: Final = 2**62
"""More than any number of seconds; a larger number in the file is damage."""

_MARK: Final = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'commit_mark'"
_SET_MARK: Final = "INSERT OR REPLACE INTO meta (key, value) VALUES ('commit_mark', ?)"

_log = logging.getLogger("builderos.storage")


@attrs.frozen
class LostCommits:
    """The database ends at the mark `kept`, but its file names the newer mark `noted`."""

    kept: int
    noted: int

    def __str__(self) -> str:
        return f"the database ends at mark {self.kept}, but {MARK_NAME} names mark {self.noted}"


def find_lost_commits(data: Path, connection: Transaction) -> LostCommits | None:
    """Return what the database lacks; None if it has the recorded mark, or if none is recorded. Blocks briefly.

    Args:
        data: the data folder.
        connection: of the database in it; only read.
    """
    noted = _read_noted_mark(data)  # before the database: a server may move both on meanwhile
    kept = _read_mark(connection)
    return None if noted is None or noted <= kept else LostCommits(kept, noted)


def set_mark(connection: apsw.Connection, number: int) -> None:
    """Write the mark's number into the database, inside the caller's transaction."""
    connection.execute(_SET_MARK, (str(number),))


def forget_noted_mark(data: Path) -> None:
    """Remove the file, before an older database replaces this one on purpose. Blocks.

    Raises:
        StorageUnavailable: the folder cannot be written.
    """
    path = data / MARK_NAME
    with named_os_errors(path):
        path.unlink(missing_ok=True)
        sync_folder(data)


@attrs.define(eq=False)
class CommitMarks:
    """One task, which marks the writer's commits."""

    data: Path
    _writer: Writer
    _marked: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start with the next commit."""
        self._marked = self._writer.statistics().commits

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Mark commits until cancelled. A mark that cannot be written is logged; the next commit sets another."""
        task_status.started()
        while True:
            await self._writer.wait_commit(self._marked)
            await trio.sleep(MARK_S)
            try:
                await self._mark()
            except StorageError as error:
                self._marked = self._writer.statistics().commits
                _log.warning("commit mark: cannot be written: %s", error)

    async def _mark(self) -> None:
        number, self._marked = await self._writer.submit(self._advance, durable=True)
        await trio.to_thread.run_sync(write_note, self.data / MARK_NAME, str(number))

    def _advance(self, connection: apsw.Connection) -> tuple[int, int]:
        """Return the new mark, and how many commits there are including this one. On the writer's thread."""
        number = _read_mark(connection) + 1
        set_mark(connection, number)
        return number, self._writer.statistics().commits + 1


def _read_mark(connection: Transaction) -> int:
    return int(connection.execute(_MARK).get or 0)


def _read_noted_mark(data: Path) -> int | None:
    try:
        with (data / MARK_NAME).open(encoding="ascii") as file:
            number = int(file.read(NOTE_BYTES))
    except (OSError, ValueError):  # missing, or damaged
        return None
    return number if 0 < number < MAX_MARK else None
