"""A file that any node received is everywhere, until the last session that has it is gone; then it is nowhere."""

from __future__ import annotations

from pathlib import Path

import httpx
import psycopg
import pytest
import trio

from storage.postgres.nodes.store import NodeStore
from storage.tables.uploads import CHUNK_BYTES, Upload
from tests.e2e.shared_server import open_http
from tests.e2e.test_files import begun_upload, bring
from tests.postgres.nodes.pair import KEY, node_arguments, open_pair, short_folder
from tests.postgres.nodes.test_opening import opened_as
from tests.storage.journal_contract import new_session
from tests.storage.tables.test_uploads import keep, names, upload
from tests.support.server import open_server

DATA = bytes(range(256)) * (CHUNK_BYTES // 100)
"""Some chunks, the last one not full."""


def on_disk(data: Path) -> list[bytes]:
    folder = data / "uploads"
    return [path.read_bytes() for path in folder.iterdir()] if folder.is_dir() else []


def rows(url: str) -> tuple[int, int]:
    """Return how many uploads and how many chunks the database has."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM upload), (SELECT count(*) FROM chunk)"
        ).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


async def test_a_file_of_one_node_reaches_an_agent_at_the_other(url: str) -> None:
    async with (
        open_pair(url) as nodes,
        open_http(nodes.a) as at_a,
        open_http(nodes.b) as at_b,
        nodes.b.device() as there,
    ):
        async with nodes.a.device() as here:
            await here.attach("trip", agent="echo")
        told = await bring(at_b, "a.png", DATA)
        assert on_disk(nodes.a.data) == on_disk(nodes.b.data) == []
        await there.attach("trip")
        accepted = await there.send("trip", "look", attachments=[{"url": told["url"]}])
        assert accepted["type"] == "accepted"
        await there.wait_for("complete", start=0)
        assert on_disk(nodes.a.data) == [DATA], "its agent can read it"
        assert on_disk(nodes.b.data) == []

        for spans, status in ({}, 200), ({"Range": f"bytes={CHUNK_BYTES - 3}-{CHUNK_BYTES + 4}"}, 206):
            of_a = await at_a.get(told["path"], headers=spans)
            of_b = await at_b.get(told["path"], headers=spans)
            assert of_a.status_code == of_b.status_code == status
            assert of_a.content == of_b.content
            left_out = {"date", "etag", "last-modified"}
            assert {**of_a.headers} == {**of_b.headers} | {
                name: of_a.headers[name] for name in left_out if name in of_a.headers
            }
        assert of_b.content == DATA[CHUNK_BYTES - 3 : CHUNK_BYTES + 5]
        assert (await at_b.get(told["path"], headers={"Range": "bytes=99999999-"})).content == DATA
        async with httpx.AsyncClient() as stranger:
            signed = told["path"] + "?" + told["url"].partition("?")[2]
            for node in (nodes.a, nodes.b):
                assert (await stranger.get(node.url + signed)).content == DATA
                assert (await stranger.get(node.url + told["path"])).status_code == 401

        assert (await at_b.delete("/api/sessions/trip")).status_code == 200
        assert on_disk(nodes.a.data) == []
        assert rows(url) == (0, 0)
        for http in (at_a, at_b):
            assert (await http.get(told["path"])).status_code == 404


async def test_a_file_is_there_though_its_node_died(url: str) -> None:
    """What was answered is in the database; what was under way leaves nothing, there or on the disk."""
    async with open_pair(url) as nodes, nodes.a.device() as here:
        async with open_http(nodes.b) as at_b:
            told = await bring(at_b, "a.png", DATA)
        async with begun_upload(nodes.b):
            await nodes.b.kill9()
        assert rows(url) == (1, 1 + len(DATA) // CHUNK_BYTES)
        await here.attach("trip", agent="echo")
        await here.send("trip", "look", attachments=[{"url": told["url"]}])
        await here.wait_for("complete", start=0)
        assert on_disk(nodes.a.data) == [DATA]
        await nodes.b.restart()
        assert on_disk(nodes.b.data) == []


async def test_what_is_not_whole_is_refused_and_leaves_nothing(url: str) -> None:
    config = "max_uploads_bytes = 1000000"
    async with open_pair(url, config=config) as nodes, open_http(nodes.a) as at_a, open_http(nodes.b) as at_b:
        await bring(at_a, "a.png", DATA)
        full = await at_b.post(
            "/api/files/upload", files={"file": ("b.png", DATA, "image/png")}, data={"type": "photo"}
        )
        assert (full.status_code, full.json()["error"]["code"]) == (409, "uploads_full"), "one quota for all"
        bad = await at_b.post(
            "/api/files/upload", files={"file": ("c.png", b"x", "image/png")}, data={"type": "?"}
        )
        assert bad.status_code == 400
        assert on_disk(nodes.b.data) == []
        assert rows(url)[0] == 1


async def test_files_from_before_there_were_nodes(url: str) -> None:
    """The first node shares them at its start; what it could not share it sends to the others."""
    with short_folder() as folder:
        place = folder / "a"
        place.mkdir()
        environment = {"BUILDEROS_API_KEY": KEY}
        async with open_server(place, arguments=("--database", url), environment=environment) as single:
            async with open_http(single) as http, single.device() as device:
                told = await bring(http, "a.png", DATA)
                await device.attach("trip", agent="echo")
                await device.send("trip", "look", attachments=[{"url": told["url"]}])
                await device.wait_for("complete", start=0)
            assert on_disk(single.data) == [DATA]
        other = folder / "b"
        other.mkdir()
        async with (
            open_server(place, arguments=node_arguments(url, "a"), environment=environment) as a,
            open_server(other, arguments=node_arguments(url, "b"), environment=environment) as b,
            open_http(b) as at_b,
        ):
            assert on_disk(a.data) == [DATA], "a session here has it"
            await a.kill9()
            assert (await at_b.get(told["path"])).content == DATA
            await a.restart()
            with psycopg.connect(url) as connection:
                connection.execute("DELETE FROM chunk")
            assert (await at_b.get(told["path"])).content == DATA
            signed = b.url + told["path"] + "?" + told["url"].partition("?")[2]
            async with httpx.AsyncClient() as stranger:
                assert (await stranger.get(signed)).content == DATA
            assert (await at_b.get(told["path"] + "x")).status_code == 404
            await a.kill9()
            away = await at_b.get(told["path"])
            assert (away.status_code, away.json()["error"]["code"]) == (503, "machine_away")
            await a.restart()


async def test_copies_go_with_the_sessions_that_need_them(url: str, tmp_path: Path) -> None:
    one = upload(1, len(DATA))
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        await keep(a.store, one, DATA)
        assert names(tmp_path / "a") == []
        for node, session_id in ((a, "mine"), (a, "mine too"), (b, "yours")):
            await node.store.catalog.create(new_session(session_id))
            assert await b.store.uploads.use(session_id, [one.name])
            path = await node.store.uploads.path_for(one.name)
            assert path is not None
            assert path.read_bytes() == DATA
        assert names(tmp_path / "a") == names(tmp_path / "b") == [one.name]
        await remove(a, "mine")
        assert names(tmp_path / "a") == [one.name]
        await remove(a, "mine too")
        assert names(tmp_path / "a") == []
        assert await a.store.uploads.find(one.name) == one
        await remove(b, "yours")
        assert names(tmp_path / "b") == []
        assert await a.store.uploads.find(one.name) is None
        assert await a.store.uploads.path_for(one.name) is None
        assert await a.store.uploads.part(one.name, 0) is None
    assert rows(url) == (0, 0)


async def remove(node: NodeStore, session_id: str) -> None:
    await node.store.uploads.remove_of(session_id)
    await node.store.catalog.remove(session_id)


async def test_a_start_keeps_what_is_needed_and_only_here(url: str, tmp_path: Path) -> None:
    """Copies that no session of this node needs, and what a crash left, go."""
    used, unused = upload(2, len(DATA)), upload(3, len(DATA))
    folder = tmp_path / "a"
    async with opened_as(url, tmp_path, "a") as node:
        for one in (used, unused):
            await keep(node.store, one, DATA)
            await node.store.uploads.path_for(one.name)
        await node.store.catalog.create(new_session("trip"))
        await node.store.uploads.use("trip", [used.name])
    (folder / "uploads" / f"{used.name}.7.part").write_bytes(b"begun")
    assert len(names(folder)) == 3
    async with opened_as(url, tmp_path, "a") as node:
        assert names(folder) == [used.name]
        path = await node.store.uploads.path_for(unused.name)
        assert path is not None
        assert path.read_bytes() == DATA


async def test_files_from_before_there_were_nodes_are_shared(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    whole, cut, lost = (upload(number, len(DATA)) for number in (1, 2, 3))
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        for one in (whole, cut, lost):
            await keep(a.store, one, DATA)
            await a.store.uploads.path_for(one.name)
        with psycopg.connect(url) as connection:
            connection.execute("DELETE FROM chunk")
        assert await b.store.uploads.find(whole.name) is None
        (folder / "uploads" / cut.name).write_bytes(DATA[:-1])
        (folder / "uploads" / lost.name).unlink()
        (folder / "uploads" / lost.name).mkdir()
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        # Nothing is needed here. What is not whole, or cannot be read, stays, and stops no start.
        assert names(folder) == [cut.name, lost.name]
        for node in (a, b):
            path = await node.store.uploads.path_for(whole.name)
            assert path is not None
            assert path.read_bytes() == DATA
        assert await b.store.uploads.find(cut.name) is None


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
async def test_a_file_of_any_size_comes_back(size: int, url: str, tmp_path: Path) -> None:
    one, data = upload(1, size), DATA[:size]
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        await keep(a.store, one, data)
        path = await b.store.uploads.path_for(one.name)
        assert path is not None
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == 0o600
        parts = [await b.store.uploads.part(one.name, number) for number in range(3)]
        assert b"".join(part or b"" for part in parts) == data


async def test_a_fetch_that_is_broken_off_leaves_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = upload(1, len(DATA))
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        await keep(a.store, one, DATA)
        uploads = b.store.uploads
        whole = type(uploads).part

        async def stops(self: object, name: str, number: int) -> bytes | None:
            if number == 1:
                await trio.sleep_forever()
            return await whole(uploads, name, number)

        with monkeypatch.context() as patch:
            patch.setattr(type(uploads), "part", stops)
            with trio.move_on_after(0.5) as scope:
                await uploads.path_for(one.name)
            assert scope.cancelled_caught
        assert names(tmp_path / "b") == []

        async def lacks(self: object, name: str, number: int) -> bytes | None:
            return await whole(uploads, name, number) if number == 0 else None

        with monkeypatch.context() as patch:
            patch.setattr(type(uploads), "part", lacks)
            assert await uploads.path_for(one.name) is None
        assert names(tmp_path / "b") == []
        assert await uploads.path_for(one.name) is not None
        assert isinstance(await uploads.find(one.name), Upload)


async def test_a_file_goes_along_with_a_session_that_moves(url: str) -> None:
    with short_folder() as folder:
        async with (
            open_pair(url, arguments=("--workspace", str(folder))) as nodes,
            open_http(nodes.a) as at_a,
            nodes.b.device() as there,
        ):
            told = await bring(at_a, "a.png", DATA)
            files = [{"url": told["url"]}]
            async with nodes.a.device() as here:
                await here.attach("trip", agent="echo")
                await here.send("trip", "look", attachments=files)
                await here.wait_for("complete", start=0)
            assert (on_disk(nodes.a.data), on_disk(nodes.b.data)) == ([DATA], [])
            assert (await at_a.post("/api/sessions/trip/move", json={"node": "b"})).status_code == 200
            with trio.fail_after(10):
                while await trio.to_thread.run_sync(on_disk, nodes.a.data):
                    pass
            await there.attach("trip")
            await there.send("trip", "look again", attachments=files)
            await there.wait_for("complete", start=len(there.frames) - 1)
            assert on_disk(nodes.b.data) == [DATA]
            assert (await at_a.get(told["path"])).content == DATA
