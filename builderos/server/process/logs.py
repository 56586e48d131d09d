"""The server's log: to stderr and to a file of the data folder, written by a separate thread.

The event loop only puts records into a bounded queue: a paused terminal or a slow disk must not stop the server.
"""

from __future__ import annotations

import logging
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

import attrs

from storage.permissions import open_private

__all__ = ["FILE_ONLY", "open_logs"]

FILE_ONLY = {"file_only": True}
"""The `extra` of a record for the file only: a traceback does not help on a person's screen."""

LOG_BYTES = 10 * 1024 * 1024
"""Size at which `server.log` is rotated."""

LOG_FILES = 3
"""Files kept, including the current one."""

QUEUE_RECORDS = 10_000
"""Records that wait for the writing thread; beyond it records are dropped and counted."""

STOP_S = 2.0
"""How long the last records may take to be written; a terminal that is paused for longer loses them."""

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

QUIET = {"hypercorn.access": logging.WARNING, "trio-websocket": logging.ERROR, "asyncio": logging.WARNING}
"""Libraries that log more than an operator needs, each with the lowest level that is kept."""


@attrs.define(eq=False)
class _Dropped:
    """How many records did not fit since the last one that did."""

    count: int = 0


class _DroppingHandler(QueueHandler):
    """Puts records into the queue, or counts those that do not fit."""

    def __init__(self, records: queue.Queue[logging.LogRecord]) -> None:
        super().__init__(records)
        self._dropped = _Dropped()

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._dropped.count:
            record.msg, record.args = f"({self._dropped.count} records lost) {record.getMessage()}", None
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped.count += 1
        else:
            self._dropped.count = 0


class _PrivateFile(RotatingFileHandler):
    """Creates each file for its owner only: a log may contain private data."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=open_private)  # type: ignore[return-value]


class _Lines(logging.Formatter):
    """Keeps a record without a traceback on one line: foreign text must not look like our own lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).replace("\n", "\\n").replace("\r", "\\r")


@contextmanager
def open_logs(path: Path, level: str) -> Iterator[None]:
    """Send the log of this process to stderr and to `path` while inside the block.

    Raises:
        OSError: the file cannot be written.
    """
    file = _PrivateFile(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8")
    screen = logging.StreamHandler(sys.stderr)
    for handler in (file, screen):
        handler.setFormatter(_Lines(FORMAT))
    screen.addFilter(lambda record: not getattr(record, "file_only", False))
    records: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_RECORDS)
    root = logging.getLogger()
    feeding = _DroppingHandler(records)
    listener = QueueListener(records, file, screen)
    root.addHandler(feeding)
    root.setLevel(level.upper())
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(feeding)
        _stop(listener, records)
        file.close()


def _stop(listener: QueueListener, records: queue.Queue[logging.LogRecord]) -> None:
    thread = listener._thread
    try:
        listener.enqueue_sentinel()
    except queue.Full:
        return  # records are no longer taken; the thread ends with the process
    if thread is not None:
        thread.join(STOP_S)
