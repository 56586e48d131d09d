"""Who takes over ends the holder of a data folder, and no other process."""

from __future__ import annotations

from pathlib import Path

import psutil

from builderos.server.run import end_holder
from tests.builderos.held import hold


def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    own = psutil.Process()
    hold(tmp_path, pid=own.pid, started_at=own.create_time() - 100)
    end_holder(tmp_path)  # the signal would end this very test
    (tmp_path / "lock").unlink()
    end_holder(tmp_path)
