"""Real processes that die in the middle of writing: every acknowledged append is there, and no gap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from storage.records import Row
from tests.storage.stores import LIMIT_S, opened

SESSIONS = 8

_WRITE = """
import sys, trio
from pathlib import Path
from storage.records import Entry, Fold, NewSession
from storage.store import open_store

def entry(n):
    return Entry("message", str(n).encode() * 40, n, turn_id="t", search_text="word", command_id=f"m{n}",
                 command_state="queued")

async def write(store, name):
    grant = await store.ownership.acquire(name)
    seq = grant.seq
    while True:
        entries = [entry(seq + n) for n in range(1, 5)]
        fold = [Fold(seq + 1, seq + 3, entry(seq + 3))] if seq % 3 else []
        seq = await store.journal.append(grant, seq, entries, fold=fold, durable=seq % 5 == 0)
        print(name, seq, flush=True)

async def main():
    async with open_store(Path(sys.argv[1]), boot_id="a") as store, trio.open_nursery() as nursery:
        for n in range(int(sys.argv[2])):
            if await store.catalog.get(f"s{n}") is None:
                await store.catalog.create(NewSession(f"s{n}", "echo", "d", b"", 1))
            nursery.start_soon(write, store, f"s{n}")

trio.run(main)
"""

_FILL = """
import resource, sys, trio
from pathlib import Path
from storage.errors import OutcomeUnknown, StorageUnavailable
from storage.records import Entry, NewSession
from storage.store import open_store

async def main():
    async with open_store(Path(sys.argv[1]), boot_id="a") as store:
        await store.catalog.create(NewSession("s", "echo", "d", b"", 1))
        grant = await store.ownership.acquire("s")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
        seq = 0
        failed = []
        while not failed:
            try:
                entry = Entry("message", bytes(50_000), seq + 1)
                seq = await store.journal.append(grant, seq, [entry], durable=False)
            except (StorageUnavailable, OutcomeUnknown) as error:
                failed.append(type(error).__name__)
        assert (await store.journal.head("s")).seq == seq, "what failed is not there"
        try:
            await store.journal.check_writable()
        except (StorageUnavailable, OutcomeUnknown) as error:
            failed.append(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await store.journal.check_writable()
        seq = await store.journal.append(grant, seq, [entry], durable=True)
        print(seq, *failed, flush=True)

trio.run(main)
"""


def assert_whole(rows: list[Row]) -> None:
    """Ranges follow each other from 1, and each row is the one that was written for its place."""
    following = 1
    for row in rows:
        assert row.first_seq == following
        assert row.payload == str(row.seq).encode() * 40
        following = row.seq + 1


def acknowledged_before_kill(path: Path, lines: int) -> dict[str, int]:
    """Run the writing process until it has said so many lines, kill it, and return what it said last."""
    seen: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(path), str(SESSIONS)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for count, line in enumerate(process.stdout):
            if count == lines:
                os.kill(process.pid, signal.SIGKILL)
            if line.endswith("\n"):
                name, seq = line.split()
                seen[name] = int(seq)
        assert process.wait(LIMIT_S) == -signal.SIGKILL
    return seen


async def test_kill_in_the_middle_of_writing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    for lines in (50, 333, 1_111, 2_000):
        seen = acknowledged_before_kill(path, lines)
        assert seen
        async with opened(path, boot_id="a") as store:
            for name, acknowledged in seen.items():
                head = await store.journal.head(name)
                assert head.epoch == 1
                assert head.seq >= acknowledged
                rows: list[Row] = []
                while page := await store.journal.read(name, rows[-1].seq if rows else 0, 500):
                    rows += page
                assert_whole(rows)
                assert rows[-1].seq == head.seq
                found = await store.journal.find_commands(name, [f"m{head.seq}"])
                assert found[f"m{head.seq}"].seq == head.seq


def test_a_file_that_may_not_grow_fails_appends_until_it_may(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    command = [sys.executable, "-c", _FILL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    seq, *failed = done.stdout.split()
    assert int(seq) > 10
    assert len(failed) == 2
    assert set(failed) <= {"StorageUnavailable", "StorageFull", "OutcomeUnknown"}
