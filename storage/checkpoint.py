"""Moves committed pages from the WAL into the database file, aside from the writer.

`wal_autocheckpoint` is 0: a checkpoint inside a commit was seen to stall it for 150 to 660 ms. A PASSIVE one
from a second connection waits for nobody and holds nobody up.
"""

from __future__ import annotations

import logging
from pathlib import Path

import apsw
import attrs
import trio

from storage.connection import mapped_errors, open_writer
from storage.errors import StorageError

__all__ = ["CheckpointStatistics", "Checkpointer"]

CHECKPOINT_PAGES = 1_000
"""WAL frames (4 KiB each) after which a commit calls for a checkpoint."""

LOG_WAL_BYTES = 64 * 1024 * 1024
"""A WAL beyond this is logged: a reader holds an old snapshot, or the disk does not keep up."""

RETRY_S = 10.0
"""Pause after a checkpoint that failed; the WAL goes on growing meanwhile, nothing is lost."""

_log = logging.getLogger("builderos.storage")


@attrs.frozen
class CheckpointStatistics:
    """Attributes: wal_pages: frames in the WAL after the newest commit; passes: checkpoints made."""

    wal_pages: int
    passes: int


@attrs.define(eq=False)
class Checkpointer:
    """One task and one connection of its own. `watch` ties it to the writer's connection."""

    path: Path
    vfs: str | None = None
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)
    _is_wanted: bool = attrs.field(default=False, init=False)
    _token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token, init=False)
    _wal_pages: int = attrs.field(default=0, init=False)
    _passes: int = attrs.field(default=0, init=False)
    _is_large: bool = attrs.field(default=False, init=False)

    def statistics(self) -> CheckpointStatistics:
        """Return the figures of now."""
        return CheckpointStatistics(self._wal_pages, self._passes)

    def watch(self, writer: apsw.Connection) -> None:
        """Let the writer's commits call for checkpoints."""
        writer.set_wal_hook(self._on_commit)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Checkpoint whenever the WAL has grown, until cancelled. A pass that has begun is finished first."""
        limiter = trio.CapacityLimiter(1)
        connection = await trio.to_thread.run_sync(self._open, limiter=limiter)
        task_status.started()
        try:
            while True:
                await self._wanted.wait()
                self._wanted = trio.Event()
                self._is_wanted = False
                try:
                    await trio.to_thread.run_sync(self._pass, connection, limiter=limiter)
                except StorageError as error:
                    _log.error("checkpoint failed: %s", error)
                    await trio.sleep(RETRY_S)
        finally:
            connection.close()

    def _on_commit(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        """Called by SQLite on the writer's thread, after each commit."""
        self._wal_pages = pages
        if pages >= CHECKPOINT_PAGES and not self._is_wanted:
            self._is_wanted = True
            self._token.run_sync_soon(self._want)
        return apsw.SQLITE_OK

    def _want(self) -> None:
        self._wanted.set()

    def _open(self) -> apsw.Connection:
        with mapped_errors(self.path):
            connection = open_writer(self.path, vfs=self.vfs)
            # A connection that has never read has no WAL open: its checkpoint would return (-1, -1) and do
            # nothing.
            connection.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018
            return connection

    def _pass(self, connection: apsw.Connection) -> None:
        with mapped_errors(self.path):
            pages, _moved = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._passes += 1
        size = pages * int(connection.pragma("page_size"))
        if size > LOG_WAL_BYTES and not self._is_large:
            _log.warning("%s-wal holds %d MiB: a reader keeps it from shrinking", self.path, size >> 20)
        self._is_large = size > LOG_WAL_BYTES
