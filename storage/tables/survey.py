"""Reads whole tables for an integrity check, in the order of their keys, page after page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs

from storage.records import CommandRecord
from storage.sqlite.commit_mark import find_lost_commits
from storage.tables.uploads import PART, UploadTable
from storage.transaction import TableReaders, Transaction

__all__ = ["KeptUpload", "Survey"]

_SESSIONS = "SELECT session_id FROM session WHERE session_id > ? ORDER BY session_id LIMIT ?"
_COMMANDS = """
SELECT command_id, seq, state FROM command WHERE session_id = ? AND command_id > ? ORDER BY command_id LIMIT ?
"""
_UPLOADS = "SELECT name, size FROM upload WHERE name > ? AND doomed = 0 ORDER BY name LIMIT ?"
_STRAY_USES = """
SELECT session_id, name FROM upload_use WHERE name NOT IN (SELECT name FROM upload) ORDER BY session_id, name LIMIT ?
"""
# A session that is being removed has no row any more but may still have a journal.
_STRAY_SESSIONS = """
SELECT DISTINCT session_id FROM journal WHERE session_id NOT IN (SELECT session_id FROM session)
  AND session_id NOT IN (SELECT session_id FROM removal) ORDER BY session_id LIMIT ?
"""
_DAMAGE_LINES = 20
_INTEGRITY = f"PRAGMA integrity_check({_DAMAGE_LINES})"


@attrs.frozen
class KeptUpload:
    """An upload's row, and the file of its name: `size` as stored, `found` as it is; None: no file."""

    name: str
    size: int
    found: int | None


@attrs.frozen(eq=False)
class Survey:
    """Each call sees one state of the database; two calls may see different ones.

    All methods raise StorageUnavailable, and StorageCorrupt if the file cannot be read.
    """

    _readers: TableReaders
    _uploads: UploadTable

    async def damage(self) -> Sequence[str]:
        """Return the damage that SQLite itself finds in the file; empty if it is sound.

        Reads every page in one go; the WAL of a running server grows meanwhile.
        """
        rows = await self._readers.all(_INTEGRITY)
        return [text for (text,) in rows if text != "ok"]

    async def lost_commits(self) -> str | None:
        """Return in words that the newest commits are missing; None if they are not."""
        lost = await self._readers.run(partial(find_lost_commits, self._uploads.data))
        return None if lost is None else str(lost)

    async def sessions(self, after: str, limit: int) -> Sequence[str]:
        """Return sessions' ids after `after`, in order."""
        return [session_id for (session_id,) in await self._readers.all(_SESSIONS, (after, limit))]

    async def commands(self, session_id: str, after: str, limit: int) -> Sequence[CommandRecord]:
        """Return the records of a session's commands with ids after `after`, in order."""
        return [CommandRecord(*row) for row in await self._readers.all(_COMMANDS, (session_id, after, limit))]

    async def stray_sessions(self, limit: int) -> Sequence[str]:
        """Return sessions that have a journal but do not exist."""
        return [session_id for (session_id,) in await self._readers.all(_STRAY_SESSIONS, (limit,))]

    async def stray_uses(self, limit: int) -> Sequence[tuple[str, str]]:
        """Return sessions that have uploads that do not exist, with the uploads' names."""
        return [(session_id, name) for session_id, name in await self._readers.all(_STRAY_USES, (limit,))]

    async def uploads(self, after: str, limit: int) -> Sequence[KeptUpload]:
        """Return uploads with names after `after`, in order, and the files on the disk."""
        return await self._readers.run(lambda connection: self.look(connection, after, limit))

    def look(self, connection: Transaction, after: str, limit: int) -> list[KeptUpload]:
        """Return what `uploads` does. On a reader's thread."""
        rows = connection.execute(_UPLOADS, (after, limit)).fetchall()
        return [KeptUpload(name, size, self.size_of(name)) for name, size in rows]

    def size_of(self, name: str) -> int | None:
        """Return the size of a file as it is; None if there is none. Blocks."""
        # The part is a file whose server was killed between the commit and the rename; the next start renames
        # it.
        for path in (self._uploads.folder / name, self._uploads.folder / (name + PART)):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                continue
        return None
