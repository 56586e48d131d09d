"""Which of the person's Claude Code programs run now, by the registry that they keep. Blocks: use a thread."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from bridgehub.desk.claude_rows import OUR_WAYS, row_id
from bridgehub.desk.files import NotReadable, open_record, parse
from bridgehub.desk.live.processes import is_ours, runs_since
from bridgehub.desk.records import Where

__all__ = ["live_programs"]

MAX_ENTRIES = 500
MAX_ENTRY_BYTES = 64 * 1024


def live_programs(config: Path) -> dict[str, Where]:
    """Return by session which program has it open. Programs of ours are left out, and entries of dead ones."""
    found: dict[str, Where] = {}
    try:
        names = os.listdir(config / "sessions")[:MAX_ENTRIES]
    except OSError:
        return found
    for name in names:
        pid, _, ending = name.partition(".")
        if ending != "json" or not pid.isdecimal() or len(pid) > 10:
            continue
        told = _entry(config / "sessions" / name, int(pid))
        if told is not None and (told[0] not in found or found[told[0]].since_ms < told[1].since_ms):
            found[told[0]] = told[1]
    return found


def _entry(path: Path, pid: int) -> tuple[str, Where] | None:
    try:
        with open_record(str(path)) as file:
            told = os.fstat(file.fileno())
            if told.st_uid != os.getuid() or stat.S_IMODE(told.st_mode) & 0o022:
                return None
            row = parse(file.read(MAX_ENTRY_BYTES))
    except (NotReadable, OSError):
        return None
    if row is None or row.get("pid") != pid:
        return None
    native_id = row_id(row.get("sessionId"))
    started = row.get("procStart")
    if not native_id or row.get("entrypoint") in OUR_WAYS or not isinstance(started, str):
        return None
    since = row.get("startedAt")
    if not runs_since(pid, started, since) or is_ours(pid):
        return None
    status: Literal["idle", "busy", "waiting"] = "idle"
    if row.get("status") == "busy":
        status = "busy"
    elif row.get("status") == "waiting" or row.get("waitingFor"):
        status = "waiting"
    since_ms = since if isinstance(since, int) and 0 <= since < 1 << 48 else 0
    return native_id, Where("claude", pid, status, since_ms, started)
