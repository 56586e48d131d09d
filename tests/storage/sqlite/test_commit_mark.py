"""A WAL that was damaged, cut off or lost: the next start and `doctor --verify` notice it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from builderos.commands.verify import verify
from storage.sqlite import commit_mark
from storage.sqlite.commit_mark import MARK_NAME, forget_noted_mark
from storage.store import Store
from tests.storage.faults import faulty_disk
from tests.storage.journal_contract import entry, new_session
from tests.storage.stores import opened, until

NAMES = ("busy", "quiet")
WAL = "builderos.db-wal"
TURNS = 6

Damage = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _marks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_mark, "MARK_S", 0.0)


def noted(folder: Path) -> int:
    path = folder / MARK_NAME
    return int(path.read_text()) if path.exists() else 0


async def marked(folder: Path, store: Store) -> None:
    """Commit, and wait for the mark."""
    before = noted(folder)
    await store.settle(f"name {before}", "value")
    await until(lambda: noted(folder) > before)


async def crashed(tmp_path: Path) -> Path:
    """Return a folder as a killed server leaves it: what matters is still in the WAL."""
    folder, image = tmp_path / "run", tmp_path / "image"
    folder.mkdir()
    image.mkdir()
    async with opened(folder / "builderos.db") as store:
        for name in NAMES:
            await store.catalog.create(new_session(name))
    async with opened(folder / "builderos.db") as store:
        grant, seq = await store.ownership.acquire("busy"), 0
        for _ in range(TURNS):
            seq = await store.journal.append(grant, seq, [entry()], durable=True)
            await marked(folder, store)
        for name in (MARK_NAME, "builderos.db", WAL):  # the mark first: it may not be newer than the database
            shutil.copyfile(folder / name, image / name)
    return image


def flip_a_bit(image: Path) -> None:
    content = bytearray((image / WAL).read_bytes())
    content[len(content) // 2] ^= 1
    (image / WAL).write_bytes(content)


def cut_off(image: Path) -> None:
    content = (image / WAL).read_bytes()
    (image / WAL).write_bytes(content[: len(content) // 2])


def remove_wal(image: Path) -> None:
    (image / WAL).unlink()


def nothing(image: Path) -> None:
    """Leave all as it is."""


def damage_without_a_note(image: Path) -> None:
    flip_a_bit(image)
    forget_noted_mark(image)


def damage_with_a_damaged_note(image: Path) -> None:
    flip_a_bit(image)
    (image / MARK_NAME).write_bytes(b"\xff" * 4096)


async def lost_rows(store: Store) -> list[str | None]:
    return [row.act.subject for row in await store.audit.page(0) if row.act.act == "commits_lost"]


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off, remove_wal])
async def test_lost_commits_are_noticed_once(
    tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    image = await crashed(tmp_path)
    newest = noted(image)
    damage(image)
    lines: list[str] = []
    assert await verify(image, lines.append) > 0
    assert [line for line in lines if line.startswith("database: commits: ")], lines
    async with opened(image / "builderos.db") as store:
        (subject,) = await lost_rows(store)
        assert subject is not None
        kept, _, last = subject.partition("-")
        assert int(kept) < int(last) == newest
        assert (await store.journal.head("busy")).seq < TURNS
        records = [await store.catalog.get(name) for name in NAMES]
        epochs = [one.epoch for one in records if one is not None]
        assert min(epochs) > 1_700_000_000, "no device knows such an epoch"
        grant = await store.ownership.acquire("busy")
        assert grant.owner_epoch > 1_700_000_000, "no hub knows a later owner"
        assert noted(image) == newest
        await marked(image, store)
        assert noted(image) > newest
    assert ["newest commits are missing" in text for text in caplog.messages].count(True) == 1
    caplog.clear()
    async with opened(image / "builderos.db") as store:
        assert len(await lost_rows(store)) == 1
        assert [(await store.journal.head(name)).epoch for name in NAMES] == epochs
    assert caplog.messages == []
    lines.clear()
    await verify(image, lines.append)
    assert not [line for line in lines if line.startswith("database: commits: ")], lines


@pytest.mark.parametrize("damage", [nothing, damage_without_a_note, damage_with_a_damaged_note])
async def test_no_loss_without_a_newer_mark(tmp_path: Path, damage: Damage) -> None:
    """A restore removes the note, and a damaged one says nothing."""
    image = await crashed(tmp_path)
    damage(image)
    async with opened(image / "builderos.db") as store:
        assert await lost_rows(store) == []
        head = await store.journal.head("busy")
        assert (head.epoch, head.seq == TURNS) == (1, damage is nothing)


async def test_an_older_copy_in_the_databases_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "builderos.db"
    async with opened(path) as store:
        await marked(tmp_path, store)
    shutil.copyfile(path, tmp_path / "older")
    async with opened(path) as store:
        await marked(tmp_path, store)
    (tmp_path / "older").replace(path)
    async with opened(path) as store:
        assert await lost_rows(store) == ["1-2"]


async def test_commits_are_marked_and_a_mark_alone_is_not(tmp_path: Path) -> None:
    """Who does nothing pays for nothing: after the last commit there is one mark."""
    async with opened(tmp_path / "builderos.db") as store:
        await marked(tmp_path, store)
        for _ in range(3):
            before, number = store.statistics().writer, noted(tmp_path)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert store.statistics().writer == before
            await marked(tmp_path, store)
            after = store.statistics().writer
            assert (after.commits - before.commits, after.synced - before.synced) == (2, 2)
            assert noted(tmp_path) == number + 1


async def test_a_mark_that_cannot_be_written_is_logged_and_comes_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path / "builderos.db") as store:
        await marked(tmp_path, store)
        (tmp_path / f"{MARK_NAME}.new").mkdir()
        await store.settle("one", "value")
        await until(lambda: "commit mark: cannot be written" in caplog.text)
        (tmp_path / f"{MARK_NAME}.new").rmdir()
        await marked(tmp_path, store)


async def test_the_file_is_never_ahead_of_what_is_on_the_disk(tmp_path: Path) -> None:
    """A mark is on the disk before its number is in the file."""
    with faulty_disk() as disk:
        async with opened(tmp_path / "builderos.db", vfs=disk.name) as store:
            for _ in range(5):
                before = disk.wal_syncs
                await marked(tmp_path, store)
                assert disk.wal_syncs == before + 2, "the commit's own, and the mark's"
