"""The log of a server, in its file and on the screen."""

from __future__ import annotations

import logging
import queue
from pathlib import Path

import pytest

from builderos.server.process.logs import FILE_ONLY, _DroppingHandler, open_logs


def test_the_log_goes_to_file_and_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "server.log"
    log = logging.getLogger("builderos.test")
    with open_logs(path, "info"):
        log.info("session %s: two\nlines", "trip")
        log.debug("too quiet")
        log.error("only in the file", extra=FILE_ONLY)
    written = path.read_text().splitlines()
    assert len(written) == 2
    assert written[0].endswith("INFO builderos.test: session trip: two\\nlines")
    shown = capsys.readouterr().err.splitlines()
    assert shown == written[:1]
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [handler for handler in logging.getLogger().handlers if isinstance(handler, _DroppingHandler)]


def test_a_log_that_nobody_writes_blocks_nobody() -> None:
    records: queue.Queue[logging.LogRecord] = queue.Queue(1)
    handler = _DroppingHandler(records)
    for number in range(4):
        handler.handle(logging.makeLogRecord({"msg": "record %s", "args": (number,)}))
    assert records.get().getMessage() == "record 0"
    handler.handle(logging.makeLogRecord({"msg": "record %s", "args": (9,)}))
    assert records.get().getMessage() == "(3 records lost) record 9"
