"""A file goes to a real server as it is, and one that cannot go is refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from builderos.client import upload as uploads
from builderos.client.state import RefusedError
from builderos.client.wire.server import LinkLostError
from builderos.client.wire.server import Server as Address
from tests.e2e.shared_server import open_http
from tests.support.server import Server, open_server


async def upload(server: Server, path: Path) -> str:
    address = Address(server.url, server.key)
    return await trio.to_thread.run_sync(uploads.upload, address, path, "between-2b1c")


async def test_files_arrive_byte_for_byte(tmp_path: Path) -> None:
    data = os.urandom(700_000)
    names = ["photo.png", 'a "b"\\c.txt', "übung.md", "empty"]
    async with open_server(tmp_path) as server, open_http(server) as http:
        for name in names:
            (tmp_path / name).write_bytes(b"" if name == "empty" else data)
            url = await upload(server, tmp_path / name)
            assert (await http.get(url)).content == (b"" if name == "empty" else data), name
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", "look", attachments=[{"url": url}])
            said = await device.wait_for("user_message", start=0)
            assert [one["filename"] for one in said["attachments"]] == ["empty"]


async def test_what_cannot_go_is_refused_in_words(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        os.mkfifo(tmp_path / "pipe")
        long = tmp_path / "long"
        with long.open("wb") as file:
            file.truncate(uploads.MAX_FILE_BYTES + 1)
        for path, words in (
            (tmp_path / "nothing", "No such file"),
            (tmp_path, "Is a directory"),
            (Path("/dev/null"), "is not a file"),
            (tmp_path / "pipe", "is not a file"),
            (long, "over 50 MB"),
        ):
            with pytest.raises(RefusedError, match=words):
                await upload(server, path)
        (tmp_path / "a").write_text("a")
        with pytest.raises(RefusedError, match="key"):
            await trio.to_thread.run_sync(uploads.upload, Address(server.url, "wrong"), tmp_path / "a", "b")
        address = Address(server.url, server.key)
    with pytest.raises(LinkLostError):
        await trio.to_thread.run_sync(uploads.upload, address, tmp_path / "a", "b")
