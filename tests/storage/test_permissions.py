"""What others of the machine may read of a data folder: nothing, from the start on and whatever the umask."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from builderos.server.process import logs
from builderos.server.process.logs import open_logs
from storage import permissions
from storage.data_folder import open_data_folder
from storage.errors import InsecureDataFolder
from storage.permissions import make_private
from tests.support.server import open_server


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_what_others_could_read_is_mended_and_told(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    (data / "uploads" / "deep").mkdir(parents=True)
    for name in ("api-key", "builderos.db", "builderos.db-wal", "server.log.1", "uploads/deep/a", "my-notes"):
        (data / name).write_text("x")
        (data / name).chmod(0o664)
    other.write_text("x")
    other.chmod(0o644)
    (data / "hubs").mkdir(mode=0o700)
    (data / "hubs" / "link").symlink_to(other)
    data.chmod(0o755)
    mended = make_private(data)
    assert [mode(data), mode(data / "api-key"), mode(data / "uploads" / "deep")] == [0o700, 0o600, 0o700]
    assert {path.name for path in mended} == {
        *("data", "api-key", "builderos.db", "builderos.db-wal", "server.log.1", "uploads", "deep", "a")
    }
    assert mode(data / "my-notes") == 0o664, "what is not ours stays as it is"
    assert mode(other) == 0o644
    assert make_private(data) == []


def test_a_new_folder_that_others_could_look_into_is_no_news(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert make_private(tmp_path) == []
    assert mode(tmp_path) == 0o700
    tmp_path.chmod(0o777)
    assert make_private(tmp_path) == [tmp_path]


def test_another_users_folder_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(InsecureDataFolder, match="another user"), open_data_folder(data):
        pass
    assert mode(data) == 0o755
    assert list(data.iterdir()) == []


def test_another_users_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "api-key").write_text("planted")
    found = permissions._fix

    def fix(path: Path, me: int) -> list[Path]:
        return found(path, me + (path.name == "api-key"))

    monkeypatch.setattr(permissions, "_fix", fix)
    with pytest.raises(InsecureDataFolder, match="api-key belongs to another user"):
        make_private(tmp_path)


def test_a_folder_that_all_share_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(InsecureDataFolder, match="all users share"):
        make_private(tmp_path)
    assert mode(tmp_path) == 0o1777


def test_rotated_logs_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES", 200)
    with umask(0), open_logs(tmp_path / "server.log", "info"):
        for number in range(20):
            logging.getLogger("builderos.test").info("line %d", number)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["server.log", "server.log.1", "server.log.2"]
    assert {mode(path) for path in files} == {0o600}


def open_ones(data: Path) -> list[str]:
    """Return what others may get at."""
    paths = [data, *data.rglob("*")]
    return [f"{path} {mode(path):o}" for path in paths if not path.is_symlink() and mode(path) & 0o077]


async def test_everything_that_a_server_makes_is_private(tmp_path: Path) -> None:
    with umask(0):
        async with open_server(tmp_path) as server:
            headers = {"X-API-Key": server.key}
            async with (
                server.device() as device,
                httpx.AsyncClient(base_url=server.url, headers=headers) as http,
            ):
                files = {"file": ("a.txt", b"abc", "text/plain")}
                assert (await http.post("/api/files/upload", files=files)).status_code == 200
                await device.attach("trip", agent="echo")
                await device.send("trip", "/words 800 1")
                await device.wait_for("message")
                assert open_ones(server.data) == []
                await server.kill9()
            assert open_ones(server.data) == []
            (server.data / "api-key").chmod(0o644)
            await server.restart()
            async with server.device() as device:
                await device.attach("trip", after={"epoch": 1, "seq": 0})
                await device.wait_for("complete", limit_s=30)
            assert open_ones(server.data) == []
            await server.terminate()
            told = [line for line in server.errors.read_text().splitlines() if "other users" in line]
            assert len(told) == 1
            assert "api-key" in told[0]
            assert open_ones(server.data) == []
