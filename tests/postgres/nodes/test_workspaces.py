"""A session's folder at the other node: it answers as the home does, byte for byte, or says that the home is away."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import psutil
import psycopg
import pytest
import trio

from storage.data_folder import blob_path
from tests.e2e.shared_server import hubs_of, open_http, sha256
from tests.e2e.test_work import At, git
from tests.postgres.nodes.pair import KEY, Pair, open_pair, short_folder

BIG = 16_000_000


@attrs.frozen
class Both(At):
    """Node `a`, which is the home of the session `s`, and HTTP at node `b`."""

    nodes: Pair
    other: httpx.AsyncClient

    async def same(self, path: str, *, method: str = "GET", **how: object) -> httpx.Response:
        """Ask both nodes for a path; return the answer of the other one, which is that of the home."""
        here = await self.http.request(method, path, **how)  # type: ignore[arg-type]
        there = await self.other.request(method, path, **how)  # type: ignore[arg-type]
        assert (there.status_code, there.content) == (here.status_code, here.content), path
        assert {**there.headers, "date": ""} == {**here.headers, "date": ""}, path
        return there


@asynccontextmanager
async def working(url: str) -> AsyncIterator[Both]:
    with short_folder() as folder:
        async with (
            open_pair(url, arguments=("--workspace", str(folder))) as nodes,
            nodes.a.device() as here,
            open_http(nodes.a) as http,
            open_http(nodes.b) as other,
        ):
            await here.attach("s", agent="echo")
            yield Both(nodes.a, here, http, folder, nodes, other)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_files_and_changes_are_as_at_home(url: str) -> None:
    async with working(url) as at:
        after = await at.turn({"a.py": "x = 1\n", "sub/ümlaut.txt": "ä\n", "old.txt": "1\n"})
        last = await at.turn({"old.txt": None, "a.py": "x = 2\n"})
        noise = os.urandom(700_000)
        (at.workspace / "picture.png").write_bytes(noise)
        files = "/api/sessions/s/files"
        listed = (await at.same(files)).json()["entries"]
        assert {one["name"] for one in listed} >= {"a.py", "sub", "picture.png"}
        await at.same(files, params={"path": "sub"})
        found = (await at.same(files, params={"q": "umlaut"})).json()["entries"]
        assert [one["path"] for one in found] in ([], ["sub/ümlaut.txt"])
        file = "/api/sessions/s/file"
        shown = (await at.same(file, params={"path": "a.py"})).json()
        assert shown["content"] == "x = 2\n"
        assert "<" in shown["html"]
        earlier = {"path": "old.txt", "checkpoint": after["checkpoint_id"]}
        assert (await at.same(file, params=earlier)).json()["content"] == "1\n"
        assert (await at.same(file, params={"path": "picture.png"})).content == noise
        changes = "/api/sessions/s/changes"
        assert (await at.same(changes)).json()["files"]
        of_last = (await at.same(changes, params={"turn": last["of_turn"]})).json()["files"]
        assert {one["path"] for one in of_last} == {"a.py", "old.txt"}
        refusals = [
            await at.same(file, params={"path": "../etc"}),
            await at.same(file, params={"path": "nothing"}),
            await at.same(file),
            await at.same(changes, params={"from": "x"}),
            await at.same(changes, params={"turn": "nothing"}),
            await at.same("/api/sessions/nothing/files"),
        ]
        assert [one.status_code for one in refusals] == [403, 404, 400, 400, 404, 404]
        assert code(await at.same("/api/sessions/s/give-back", method="POST")) == (409, "no_conversation")


async def test_long_outputs_are_as_at_home(url: str) -> None:
    async with working(url) as at:
        text = "line\n" * 100_000
        kept = blob_path(at.server.data, "s", sha256(text))
        assert kept is not None
        kept.parent.mkdir(parents=True)
        kept.write_text(text)
        path = f"/uploads/blobs/s/{sha256(text)}"
        assert (await at.same(path)).text == text
        part = await at.same(path, headers={"Range": "bytes=5-14"})
        assert (part.status_code, part.content) == (206, b"line\nline\n")
        assert (await at.same(f"/uploads/blobs/s/{sha256('')}")).status_code == 404
        async with httpx.AsyncClient(base_url=at.nodes.b.url) as stranger:
            assert (await stranger.get(path)).status_code == 401
            assert (await stranger.get(f"{path}?sig={'0' * 64}")).status_code == 401


async def test_undo_and_its_undo_at_the_other_node(url: str) -> None:
    async with working(url) as at, at.nodes.b.device() as there:
        after = await at.turn({"a.txt": "1\n"})
        await there.attach("s")
        await there.say("undo", session_id="s", turn_id=after["of_turn"])
        undone = await there.wait_for(lambda one: one["type"] in ("undone", "rejected"), start=0)
        assert undone["type"] == "undone"
        assert "a.txt" not in at.content()
        await there.say("undo", session_id="s", undo_id=undone["undo_id"])
        await there.wait_for(
            lambda one: one["type"] == "undone" and one["undo_id"] != undone["undo_id"], start=0
        )
        assert at.content()["a.txt"] == "1\n"


async def test_a_worktree_is_shown_and_goes_with_its_session(url: str) -> None:
    async with working(url) as at, at.nodes.b.device() as there:
        git(at.workspace, "init", "-q", "-b", "trunk")
        git(at.workspace, "commit", "-q", "--allow-empty", "-m", "x")
        made = await at.device.attach("own", agent="echo", settings={"worktree": True})
        assert made["worktree"]["branch"] == "builderos/own"
        assert (await there.attach("own"))["worktree"] == made["worktree"]
        folder = Path(made["worktree"]["path"])
        (folder / "new.txt").write_text("new\n")
        assert (await there.attach("own"))["worktree"] == {**made["worktree"], "dirty": True}
        assert (await there.attach("s"))["worktree"] is None
        assert code(await at.other.delete("/api/sessions/own")) == (409, "worktree_dirty")
        assert (await at.other.delete("/api/sessions/own?force=true")).status_code == 200
        assert not await trio.Path(folder).exists()


async def test_resume_says_where_the_session_is_and_ends_nothing(url: str) -> None:
    async with working(url) as at:
        await at.device.ask("s", "hello")
        hubs = hubs_of(at.nodes.a.data)
        command = [sys.executable, "-m", "builderos", "resume", "s", "--data", str(at.nodes.b.data)]
        ended = await trio.run_process(command, check=False, capture_stderr=True, capture_stdout=True)
        assert ended.returncode == 1
        assert b"on machine a" in ended.stderr
        assert b"builderos resume s" in ended.stderr
        assert hubs_of(at.nodes.a.data) == hubs != {}
        await at.nodes.a.kill9()
        with trio.fail_after(10):
            while True:
                ended = await trio.run_process(command, check=False, capture_stderr=True, capture_stdout=True)
                if b"(a) is away" in ended.stderr:
                    break
        await at.nodes.a.restart()


async def test_a_key_may_no_more_than_at_home(url: str) -> None:
    async with working(url) as at:
        made = (await at.http.post("/api/devices", json={"name": "tv", "scope": "view"})).json()
        async with httpx.AsyncClient(base_url=at.nodes.b.url, headers={"X-API-Key": made["key"]}) as viewer:
            with trio.fail_after(5):
                while (await viewer.get("/api/sessions")).status_code != 200:
                    pass
            assert code(await viewer.get("/api/sessions/s/files")) == (403, "forbidden")
            assert code(await viewer.delete("/api/sessions/s")) == (403, "forbidden")
            assert code(await viewer.get("/api/sessions/s/changes")) == (404, "no_checkpoint")


def open_files(pid: int, name: str) -> int:
    return sum(one.path.endswith(name) for one in psutil.Process(pid).open_files())


async def wait_open(pid: int, name: str, count: int, limit_s: float) -> None:
    with trio.fail_after(limit_s):
        while await trio.to_thread.run_sync(open_files, pid, name) != count:
            await trio.lowlevel.checkpoint()


async def test_a_download_ends_with_its_device(url: str) -> None:
    """The home closes the file of a device that is gone before it has all of it."""
    async with working(url) as at:
        (at.workspace / "big.bin").write_bytes(bytes(BIG))
        port = int(at.nodes.b.url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as device:
            head = f"GET /api/sessions/s/file?path=big.bin HTTP/1.1\r\nHost: b\r\nX-API-Key: {KEY}\r\n\r\n"
            await device.send_all(head.encode())
            assert f"content-length: {BIG}" in (await device.receive_some(65_536)).decode("latin-1").lower()
            await wait_open(at.server.pid, "big.bin", 1, 5)
        await wait_open(at.server.pid, "big.bin", 0, 15)
        whole = await at.other.get("/api/sessions/s/file", params={"path": "big.bin"})
        assert whole.content == bytes(BIG)


async def test_kill_9_of_the_home_in_mid_download(url: str) -> None:
    """What came is cut off, so nobody takes it for the whole; from then on the answer is that the machine is away."""
    async with working(url) as at:
        (at.workspace / "big.bin").write_bytes(bytes(BIG))
        came, path = bytearray(), "/api/sessions/s/file?path=big.bin"

        async def download() -> None:
            async with at.other.stream("GET", path) as answer:
                async for chunk in answer.aiter_bytes():
                    if not came:
                        await at.nodes.a.kill9()
                    came.extend(chunk)

        with pytest.raises(httpx.RemoteProtocolError):
            await download()
        assert 0 < len(came) < BIG
        assert code(await at.other.get(path)) == (503, "machine_away")
        assert code(await at.other.delete("/api/sessions/s")) == (503, "machine_away")
        await at.nodes.a.restart()
        with trio.fail_after(20):
            while (listed := await at.other.get("/api/sessions/s/files")).status_code != 200:
                assert code(listed)[0] == 503
        assert (await at.other.get(path)).content == bytes(BIG)


async def test_kill_9_of_the_home_before_its_answer(url: str) -> None:
    async with working(url) as at:
        os.kill(at.server.pid, signal.SIGSTOP)
        answers: list[httpx.Response] = []

        async def ask(method: str, path: str) -> None:
            answers.append(await at.other.request(method, path, timeout=20))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "GET", "/api/sessions/s/files")
            nursery.start_soon(ask, "DELETE", "/api/sessions/s")
            with trio.fail_after(10):
                while await trio.to_thread.run_sync(waiting_mail, url) < 2:
                    pass
            await at.nodes.a.kill9()
        assert [code(one) for one in answers] == [(503, "machine_away")] * 2
        await at.nodes.a.restart()
        with trio.fail_after(10):
            while (listed := await at.other.get("/api/sessions/s/files")).status_code != 200:
                assert code(listed)[0] == 503, "what a dead home did not do is not done by the next one"


def waiting_mail(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT count(*) FROM mail WHERE convert_from(body, 'UTF8') LIKE '%CallMail%'"
        )
        row = found.fetchone()
    return 0 if row is None else int(row[0])
