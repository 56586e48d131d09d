"""A server with its sessions in PostgreSQL, and the commands on its data folder."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.builderos.server.test_server import run
from tests.e2e.shared_server import all_events, open_http, story_of
from tests.postgres.cluster import Cluster
from tests.support.server import open_server


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short path, for a server's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="bos-"))
    yield folder
    shutil.rmtree(folder)


async def test_copied_sessions_are_the_same(place: Path, url: str, cluster: Cluster) -> None:
    where = ("--data", str(place / "data"))
    async with open_server(place) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", "Zürich, please", message_id="m1")
            await device.wait_for("complete", start=0)
        async with open_http(server) as http:
            before = await all_events(http, "trip")
        assert (await run("copy-to", url, *where))[0] == 1, "the server runs"
        assert await server.interrupt() == 0

        status, out, err = await run("copy-to", url, *where)
        assert (status, err) == (0, "")
        assert out.startswith(f"1 sessions with {len(before)} events")
        status, _, err = await run("copy-to", url, *where)
        assert (status, len(err.splitlines())) == (1, 1)
        status, _, err = await run("serve", "--port", "0", *where)
        assert (status, "--database" in err) == (1, True)

        await server.start("--database", url)
        async with open_http(server) as http:
            assert await all_events(http, "trip") == before
            found = await http.get("/api/search", params={"q": "zuri"})
            assert [hit["session_id"] for hit in found.json()["hits"]][:1] == ["trip"]
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", "more", message_id="m2")
            await device.wait_for("complete", start=len(device.frames))
        assert "Zürich, please" in (await run("export", "trip", *where))[1]
        for command in (("audit",), ("doctor", "--verify")):
            status, out, _ = await run(*command, *where)
            assert status == 0, out
        assert "everything is in order" in out


async def test_nothing_is_copied_into_a_database_in_use(place: Path, url: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (place / name).mkdir()
        async with open_server(place / name):
            pass
    assert (await run("copy-to", url, "--data", str(place / "one" / "data")))[0] == 0
    status, _, err = await run("copy-to", url, "--data", str(place / "two" / "data"))
    assert (status, len(err.splitlines())) == (1, 1)
    assert "not empty" in err
    assert (await run("devices", "list", "--data", str(place / "two" / "data")))[0] == 0


async def test_a_turn_outlives_the_death_of_the_database(place: Path, own_cluster: Cluster) -> None:
    url = own_cluster.new_database()
    async with open_server(place, arguments=("--database", url)) as server, server.device() as device:
        await device.attach("trip", agent="echo")
        await device.send("trip", "/words 300 10", message_id="m1")
        await device.wait_for("message", start=0)
        await trio.to_thread.run_sync(own_cluster.stop, signal.SIGQUIT)
        await trio.to_thread.run_sync(own_cluster.start)
        await device.wait_for("complete", start=0, limit_s=40)
        async with open_http(server) as http:
            story = story_of(await all_events(http, "trip"))
        assert story.text(story.facts[0]["turn_id"]) == "".join(f"w{i} " for i in range(300))
        assert story_of(device.events("trip")).text(story.facts[0]["turn_id"]) == story.text(
            story.facts[0]["turn_id"]
        )
