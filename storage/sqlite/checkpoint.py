"""Moves committed pages from the WAL into the database file, outside the writer.

`wal_autocheckpoint` is 0: a checkpoint inside a commit was measured to stall it for 150 to 660 ms. A PASSIVE one from a
second connection neither waits nor blocks. But the WAL restarts only at a commit that finds all of it moved, and while
the writer is busy a passive pass never finishes (measured: 800 MiB after nine seconds). So once the WAL is large, the
writer itself moves the pages committed during such a pass, some hundred, between two transactions.
"""

from __future__ import annotations

import logging
from pathlib import Path

import apsw
import attrs
import trio

from storage.errors import StorageError
from storage.sqlite.connection import mapped_errors, open_writer
from storage.sqlite.writer import Writer

__all__ = ["CheckpointStatistics", "Checkpointer", "open_aside"]

CHECKPOINT_PAGES = 1_000
"""WAL growth in frames (4 KiB each) between two checkpoints."""

CATCH_UP_PAGES = 4_000
"""WAL frames (16 MiB) from which the writer moves the remaining pages itself: rarely, since it costs two fsyncs."""

LOG_WAL_PAGES = 16_384
"""A WAL larger than this (64 MiB) is logged: a reader holds an old snapshot, or the disk is too slow."""

RETRY_S = 10.0
"""Pause after a failed checkpoint. The WAL keeps growing meanwhile; nothing is lost."""

_log = logging.getLogger("builderos.storage")


@attrs.frozen
class CheckpointStatistics:
    """Attributes: wal_pages: frames in the WAL after the newest commit; passes: checkpoints made."""

    wal_pages: int
    passes: int


def open_aside(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open a connection to checkpoint from. Raises as `open_writer` does."""
    connection = open_writer(path, vfs=vfs)
    with mapped_errors(path):
        # A connection that has never read has no WAL open: its checkpoint returns (-1, -1) and does nothing.
        connection.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018
    return connection


@attrs.define(eq=False)
class Checkpointer:
    """One task with a connection from `open_aside`. `watch` ties it to the writer's connection."""

    path: Path
    _writer: Writer
    _connection: apsw.Connection
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)
    _token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token, init=False)
    _wal_pages: int = attrs.field(default=0, init=False)
    _called_at: int = attrs.field(default=0, init=False)
    _passes: int = attrs.field(default=0, init=False)
    _is_large: bool = attrs.field(default=False, init=False)

    def statistics(self) -> CheckpointStatistics:
        """Return the current figures."""
        return CheckpointStatistics(self._wal_pages, self._passes)

    def watch(self, connection: apsw.Connection) -> None:
        """Let the commits of the writer's connection trigger checkpoints."""
        connection.set_wal_hook(self._on_commit)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Checkpoint after each growth of the WAL, until cancelled. A pass that has begun is finished first."""
        limiter = trio.CapacityLimiter(1)
        task_status.started()
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                await trio.to_thread.run_sync(self._pass, self._connection, limiter=limiter)
                if self._wal_pages >= CATCH_UP_PAGES:
                    await self._writer.run_alone(self._pass)
            except StorageError as error:
                _log.error("checkpoint failed, the WAL keeps growing: %s", error)
                await trio.sleep(RETRY_S)
            self._watch_size()

    def _on_commit(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        """Record the WAL's length; SQLite calls this on the writer's thread after each commit."""
        if pages < self._wal_pages:
            self._called_at = 0
        self._wal_pages = pages
        if pages - self._called_at >= CHECKPOINT_PAGES:
            self._called_at = pages
            self._token.run_sync_soon(self._want)
        return apsw.SQLITE_OK

    def _want(self) -> None:
        self._wanted.set()

    def _pass(self, connection: apsw.Connection) -> None:
        with mapped_errors(self.path):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._passes += 1

    def _watch_size(self) -> None:
        is_large = self._wal_pages > LOG_WAL_PAGES
        if is_large and not self._is_large:
            _log.warning(
                "%s-wal holds %d pages: a reader blocks checkpoints, or the disk is slow",
                self.path,
                self._wal_pages,
            )
        self._is_large = is_large
