"""Other programs on the database of a running store: SQLite's locks keep its WAL where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from storage.records import Head
from tests.storage.journal_contract import entry, new_session
from tests.storage.stores import LIMIT_S, opened

_LOOK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT count(*) FROM sessions").fetchone()[0])
db.close()
"""

_HOLD = """
import sys, trio
from pathlib import Path
from tests.storage.journal_contract import entry, new_session
from tests.storage.stores import opened

async def main():
    async with opened(Path(sys.argv[1])) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        await store.journal.append(grant, 0, [entry()] * 5, durable=True)
        await store.backup(Path(sys.argv[1] + ".copy"))
        print("first", flush=True)
        sys.stdin.readline()
        await store.journal.append(grant, 5, [entry()] * 5, durable=True)
        print("second", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with a store, killed at the end."""
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(LIMIT_S)


async def look(path: Path) -> int:
    """Do what a person with the `sqlite3` program does."""
    done = await trio.run_process([sys.executable, "-c", _LOOK, str(path)], capture_stdout=True)
    return int(done.stdout)


async def test_a_look_from_outside_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        await store.journal.append(grant, 0, [entry()] * 5, durable=True)
        wal = path.with_name("x.db-wal").stat().st_ino
        assert await look(path) == 1
        await store.backup(tmp_path / "copy.db")
        assert await look(path) == 1
        assert path.with_name("x.db-wal").stat().st_ino == wal, "the WAL went from under the store"
        await store.journal.append(grant, 5, [entry()] * 5, durable=True)
    async with opened(path) as store:
        assert len(await store.journal.read("trip", 0, 99)) == 10


async def test_what_was_acknowledged_after_a_look_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with trio.fail_after(LIMIT_S), holding(path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert await trio.to_thread.run_sync(process.stdout.readline) == b"first\n"
        assert await look(path) == 1
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert await trio.to_thread.run_sync(process.stdout.readline) == b"second\n"
    async with opened(path) as store:
        assert await store.journal.head("trip") == Head(1, 10)


def locks_on(path: Path) -> list[str]:
    """Return the kernel's lines about this process's locks on a file."""
    number = path.stat().st_ino
    lines = Path("/proc/locks").read_text().splitlines()
    return [line for line in lines if f":{number} " in line and f" {os.getpid()} " in line]


if sys.platform == "linux":

    async def test_the_kernel_knows_of_our_lock(tmp_path: Path) -> None:
        path = tmp_path / "x.db"
        async with opened(path) as store:
            assert locks_on(path), "a second connection cost us the lock"
            await store.backup(tmp_path / "copy.db")
            await store.journal.check_writable()
            assert locks_on(path), "a backup cost us the lock"
