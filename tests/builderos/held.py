"""A data folder as a process holds it."""

from __future__ import annotations

import json
from pathlib import Path


def hold(data: Path, *, pid: int, started_at: float, address: str = "http://127.0.0.1:1234") -> None:
    note = {"pid": pid, "started_at": started_at, "address": address}
    (data / "lock").write_text(json.dumps(note))
    (data / "api-key").write_text("k3y\n")
