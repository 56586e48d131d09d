"""Uploads are whole or not there, over any crash, and go with the last session that has them."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
import trio

from storage.data_folder import blob_folder, blob_path
from storage.errors import StorageUnavailable
from storage.store import Store
from storage.tables.uploads import Upload
from tests.storage.journal_contract import new_session
from tests.storage.stores import opened


def upload(number: int, size: int = 3) -> Upload:
    return Upload(f"{number:032x}_a.txt", "a.txt", "text/plain", "document", size, "/u", "phone", 5)


async def keep(store: Store, one: Upload, data: bytes = b"abc") -> None:
    async with store.uploads.receive(one.id) as incoming:
        await incoming.write(data)
        await store.uploads.keep(incoming, one)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "uploads").iterdir())


async def test_a_kept_file_is_there_and_private(tmp_path: Path) -> None:
    one = upload(1)
    async with opened(tmp_path / "x.db") as store:
        await keep(store, one)
        assert await store.uploads.find(one.name) == one
    async with opened(tmp_path / "x.db") as store:
        assert await store.uploads.find(one.name) == one
        path = store.uploads.path_of(one.name)
        assert path is not None
        assert path.read_bytes() == b"abc"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.write_bytes(b"ab")
        assert await store.uploads.find(one.name) is None  # not the file that came in
        path.unlink()
        assert await store.uploads.find(one.name) is None


@pytest.mark.parametrize(
    "name", ["", "..", "../x.db", "a/b", "%2e%2e", "x" * 300, f"{1:032x}_", f"{1:032x}_a/b"]
)
async def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path / "x.db") as store:
        assert store.uploads.path_of(name) is None
        assert await store.uploads.find(name) is None


async def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        async with store.uploads.receive(f"{1:032x}") as incoming:
            await incoming.write(b"x" * 600_000)
            assert names(tmp_path) == [f"{1:032x}.part"]
        assert names(tmp_path) == []
        with trio.CancelScope() as scope:
            async with store.uploads.receive(f"{2:032x}") as incoming:
                await incoming.write(b"x")
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert names(tmp_path) == []


async def test_a_file_that_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    one = upload(1)
    async with opened(tmp_path / "x.db") as store:
        await keep(store, one)
        shutil.rmtree(tmp_path / "uploads")
        (tmp_path / "uploads").touch()
        with pytest.raises(StorageUnavailable):
            await keep(store, upload(2))
        assert await store.uploads.find(upload(2).name) is None


async def test_the_sweep_names_what_was_kept_and_removes_what_was_not(tmp_path: Path) -> None:
    one = upload(1)
    async with opened(tmp_path / "x.db") as store:
        await keep(store, one)
    folder = tmp_path / "uploads"
    (folder / one.name).rename(folder / f"{one.name}.part")  # killed after the commit, before the name
    (folder / f"{2:032x}.part").write_bytes(b"killed while it came in")
    (folder / "a note.txt").write_bytes(b"of the person who owns the folder")
    async with opened(tmp_path / "x.db") as store:
        assert names(tmp_path) == [one.name, "a note.txt"]
        assert await store.uploads.find(one.name) == one


async def test_files_go_with_the_last_session_that_has_them(tmp_path: Path) -> None:
    mine, shared, free = upload(1), upload(2), upload(3)
    async with opened(tmp_path / "x.db") as store:
        for session in ("a", "b"):
            await store.catalog.create(new_session(session))
        for one in (mine, shared, free):
            await keep(store, one)
        assert await store.uploads.use("a", [mine.name, shared.name])
        assert await store.uploads.use("b", [shared.name])
        assert not await store.uploads.use("b", [shared.name, "nothing"])
        blob = blob_path(tmp_path, "a", "0" * 64)
        other = blob_path(tmp_path, "b", "0" * 64)
        assert blob is not None
        assert other is not None
        for path in (blob, other):
            path.parent.mkdir(parents=True)
            path.write_text("long")
        await store.catalog.remove("a")
        assert names(tmp_path) == [shared.name, free.name]
        assert not blob.parent.exists()
        assert other.exists()
        assert await store.uploads.find(mine.name) is None
        assert not await store.uploads.use("b", [mine.name])
        await store.catalog.remove("b")
        assert names(tmp_path) == [free.name]


async def test_a_removal_whose_files_cannot_go_ends_at_the_next_start(tmp_path: Path) -> None:
    one = upload(1)
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session("a"))
        await keep(store, one)
        await store.uploads.use("a", [one.name])
        path = tmp_path / "uploads" / one.name
        path.unlink()
        path.mkdir()  # as good as a disk that refuses
        with pytest.raises(StorageUnavailable):
            await store.catalog.remove("a")
        assert await store.catalog.get("a") is None
        path.rmdir()
        path.write_bytes(b"abc")
    async with opened(tmp_path / "x.db") as store:
        assert names(tmp_path) == []
        await store.catalog.create(new_session("a"))  # the id is free again


def test_folders_of_blobs_are_apart_and_inside(tmp_path: Path) -> None:
    ids = ["trip", "Trip", "TRIP", ".", "..", ".x", "x.", "-", "a" * 128]
    folders = [blob_folder(tmp_path, one) for one in ids]
    assert len({str(folder).lower() for folder in folders}) == len(ids)
    for folder in folders:
        assert folder.resolve().parent == tmp_path / "blobs"
    for digest in ("", "..", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61):
        assert blob_path(tmp_path, "trip", digest) is None


async def test_what_is_settled_stays(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        assert await store.settle("a", "first") == "first"
        assert await store.settle("a", "second") == "first"
    async with opened(tmp_path / "x.db") as store:
        assert await store.settle("a", "third") == "first"
