"""Opening: what a bad file, another process, an older or newer version and a power cut lead to."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import apsw
import pytest
import trio

from storage.errors import StorageBusy, StorageCorrupt, StorageError, StorageReadOnly, StorageVersion
from storage.records import Entry, Fold, Head, Summary
from storage.schema import MIGRATIONS
from storage.store import open_store
from tests.storage.faults import faulty_disk
from tests.storage.journal_contract import entry, new_session
from tests.storage.stores import LIMIT_S, opened

NOBODY = 65_534

_HOLD = """
import apsw, sys
db = apsw.Connection(sys.argv[1])
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""

_OPEN_AS_NOBODY = """
import os, sys, trio
from pathlib import Path
from storage.errors import StorageError
from storage.store import open_store

async def main():
    try:
        async with open_store(Path(sys.argv[1]), boot_id="b"):
            print("opened")
    except StorageError as error:
        print(type(error).__name__, error)

if os.getuid() == 0:
    os.setuid(int(sys.argv[2]))
trio.run(main)
"""


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Another process that holds the write lock of the database."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(LIMIT_S)


async def make(path: Path) -> None:
    async with opened(path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        texts = [entry(str(n) * 500) for n in range(200)]
        await store.journal.append(grant, 0, texts, durable=True)


async def error_of_opening(path: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        async with opened(path):
            pass
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return caught.value


async def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    earlier = os.umask(0)
    try:
        async with opened(path) as store:
            await store.catalog.create(new_session())
            modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)}
    finally:
        os.umask(earlier)
    assert modes == {"x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600}
    assert os.listdir(tmp_path) == ["x.db"]


@pytest.mark.parametrize("content", [b"this is a letter, not a database\n" * 100, b"\x00" * 8192])
async def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    assert isinstance(await error_of_opening(path), StorageCorrupt)
    assert path.read_bytes() == content


async def test_a_truncated_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await make(path)
    os.truncate(path, path.stat().st_size // 2)
    assert isinstance(await error_of_opening(path), StorageCorrupt)


async def test_a_damaged_page_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await make(path)
    page = path.read_bytes().index(b"199199199") // 4096
    with path.open("r+b") as file:
        file.seek(4096 * page)
        file.write(b"\xa5" * 4096)
    async with opened(path) as store:
        with pytest.raises(StorageCorrupt):
            await store.journal.read("trip", 0, 1_000)


async def test_somebody_elses_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (a)")
    other.close()
    assert isinstance(await error_of_opening(path), StorageCorrupt)


async def test_a_folder_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.mkdir()
    await error_of_opening(path)
    await error_of_opening(tmp_path / "nowhere" / "x.db")


async def test_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await make(path)
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    assert isinstance(await error_of_opening(path), StorageVersion)


async def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "x.db"
    await make(path)
    path.chmod(0o444)
    for parent in (folder, tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    command = [sys.executable, "-c", _OPEN_AS_NOBODY, str(path), str(NOBODY)]
    done = await trio.run_process(command, capture_stdout=True)
    assert done.stdout.decode().startswith(f"{StorageReadOnly.__name__} {path}: ")


async def test_a_lock_held_by_another_process_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await make(path)
    with holding(path):
        assert isinstance(await error_of_opening(path), StorageBusy)
    async with opened(path) as store:
        assert await store.journal.head("trip") == Head(1, 200)


async def test_a_lock_held_by_another_process_while_running(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await make(path)
    async with opened(path) as store:
        grant = await store.ownership.acquire("trip")
        with holding(path):
            with pytest.raises(StorageBusy):
                await store.journal.append(grant, 200, [entry()], durable=True)
            with pytest.raises(StorageBusy):
                await store.journal.check_writable()
            assert len(await store.journal.read("trip", 190, 100)) == 10
        await store.journal.check_writable()
        assert await store.journal.append(grant, 200, [entry()], durable=True) == 201


async def test_a_migration_leaves_a_copy_of_what_was(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await make(path)
    newer = (*MIGRATIONS, "CREATE TABLE third (a TEXT) STRICT", "ALTER TABLE third ADD COLUMN b TEXT")
    with trio.fail_after(LIMIT_S):
        async with open_store(path, boot_id="boot", migrations=newer) as store:
            assert await store.journal.head("trip") == Head(1, 200)
    first, second = (f"x.db.before-v{len(MIGRATIONS) + step}" for step in (1, 2))
    copy = path.with_name(first)
    assert sorted(os.listdir(tmp_path)) == ["x.db", first, second]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    async with opened(copy) as store:
        assert await store.journal.head("trip") == Head(1, 200)
    assert isinstance(await error_of_opening(path), StorageVersion)


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await make(path)
    broken = (*MIGRATIONS, "CREATE TABLE third (a TEXT) STRICT; SELECT nothing FROM nowhere")
    with pytest.raises(StorageError):
        async with open_store(path, boot_id="boot", migrations=broken):
            pass
    async with opened(path) as store:
        assert await store.journal.head("trip") == Head(1, 200)


def copied(path: Path, target: Path) -> Path:
    target.mkdir()
    for file in path.parent.glob("x.db*"):
        shutil.copy(file, target)
    return target / path.name


async def epochs_after(folder: Path, *, boot_id: str, closed_well: bool) -> dict[str, int]:
    """Epochs of a busy and an idle session after a first run (boot `a`) and an end of this kind."""
    path = folder / "x.db"
    async with opened(path, boot_id="a") as store:
        for name, unfinished in (("busy", True), ("idle", False)):
            await store.catalog.create(new_session(name))
            grant = await store.ownership.acquire(name)
            summary = Summary("", "running", 1, 0, unfinished, b"", None, 0)
            given = Entry("user_message", b"", 1)
            await store.journal.append(grant, 0, [given], summary=summary, durable=True)
        if not closed_well:
            # What a power cut would leave: the file and its WAL as they are now.
            path = copied(path, folder / "left")
    found: dict[str, int] = {}
    async with opened(path, boot_id=boot_id) as store:
        for name in ("busy", "idle"):
            found[name] = (await store.journal.head(name)).epoch
    await trio.lowlevel.checkpoint()
    return found


@pytest.mark.parametrize(
    ("boot_id", "closed_well", "epoch"), [("b", False, 2), ("a", False, 1), ("b", True, 1), ("a", True, 1)]
)
async def test_a_power_cut_gives_busy_sessions_a_new_epoch(
    tmp_path: Path, boot_id: str, closed_well: bool, epoch: int
) -> None:
    found = await epochs_after(tmp_path, boot_id=boot_id, closed_well=closed_well)
    assert found == {"busy": epoch, "idle": 1}


async def test_commit_numbers_rise_over_restarts(tmp_path: Path) -> None:
    numbers: list[int] = []
    for run in range(3):
        async with opened(tmp_path / "x.db") as store:
            if run == 0:
                await store.catalog.create(new_session())
            grant = await store.ownership.acquire("trip")
            fold = [Fold(run, run, entry("again"))] if run else []
            await store.journal.append(grant, run, [entry()], fold=fold, durable=True)
            numbers += [row.commit_no for row in await store.journal.read("trip", 0, 9)][-1:]
    assert numbers == sorted(set(numbers))


async def test_people_can_list_sessions_with_sqlite3(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.catalog.create(new_session(at_ms=1_700_000_000_123))
        grant = await store.ownership.acquire("trip")
        await store.journal.append(grant, 0, [entry(kind="complete", at_ms=1_700_000_001_000)], durable=True)
        reader = sqlite3.connect(path)
        cursor = reader.execute("SELECT * FROM sessions")
        assert [column[0] for column in cursor.description] == [
            "session_id",
            "agent_type",
            "device_id",
            "created_at",
            "last_activity",
        ]
        times = ("2023-11-14T22:13:20.123Z", "2023-11-14T22:13:21.000Z")
        assert cursor.fetchall() == [("trip", "echo", "ipad", *times)]
        reader.close()


async def test_a_backup_is_a_database_of_one_moment(tmp_path: Path) -> None:
    path, target = tmp_path / "x.db", tmp_path / "copies" / "y.db"
    target.parent.mkdir()
    await make(path)
    async with opened(path) as store:
        grant = await store.ownership.acquire("trip")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.backup, target)
            for seq in range(200, 260):
                await store.journal.append(grant, seq, [entry()], durable=False)
        await store.backup(target)
        with pytest.raises(StorageError):
            await store.backup(tmp_path / "nowhere" / "y.db")
    assert os.listdir(target.parent) == ["y.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    async with opened(target) as store:
        assert await store.journal.head("trip") == Head(1, 260)


@pytest.mark.parametrize("failed", [True, False])
async def test_a_disk_that_is_full_from_the_start_is_told_once(
    failed: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = 0 if failed else 1
    with faulty_disk() as disk:
        with pytest.RaisesGroup(StorageError) if failed else nullcontext():
            async with open_store(tmp_path / "test.db", boot_id="boot", vfs=disk.name):
                disk.fail_write = apsw.FullError
                if failed:
                    raise StorageError("no space left, or the size limit is reached")
        disk.fail_write = None
    lines = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(lines) == expected, "the error that ends the start is the line"
