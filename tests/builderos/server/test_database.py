"""A server without PostgreSQL knows nothing of it, and a folder whose sessions are there is not taken for an empty one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio

from storage.postgres.home import HOME_NAME, Home, WrongDatabase, read_home, settle_home, write_home
from tests.builderos.server.test_server import run
from tests.support.server import ROOT

_MODULES = """
import sys
from builderos.__main__ import main

status = main()
ONLY_THERE = ("psycopg", "storage.postgres", "storage.node_records", "actors.nodes", "builderos.server.nodes")
print(*sorted(name for name in sys.modules if name.startswith(ONLY_THERE)))
sys.exit(status)
"""

HOME = Home("n1", "7/5", "database x on db1", "host=db1 dbname=x")


async def test_a_server_on_sqlite_loads_nothing_of_postgres(tmp_path: Path) -> None:
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", _MODULES, "serve", "--port", "0", "--data", str(tmp_path / "d")],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        out = b""
        async with process.stdout:
            async for chunk in process.stdout:
                if b"\n  Sessions " not in out and b"\n  Sessions " in out + chunk:
                    process.terminate()
                out += chunk
        assert await process.wait() == 0
    assert out.decode().splitlines()[-1] == "storage.postgres storage.postgres.home"
    assert not (tmp_path / "d" / HOME_NAME).exists()


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--port", "0"),
        ("backup", "x.zip"),
        ("import", "old.db"),
        ("devices", "list"),
    ],
    ids=lambda command: command[0],
)
async def test_a_folder_with_sessions_in_postgres_is_refused(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    write_home(tmp_path, HOME)
    status, out, err = await run(*command, "--data", str(tmp_path))
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "database x on db1" in err
    assert not (tmp_path / "builderos.db").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--node", "a"), "needs a PostgreSQL"),
        (("--node", "Mac Mini", "--database", "postgresql://bos@127.0.0.1:1/x"), "small letters"),
        (("--node", "self", "--database", "postgresql://bos@127.0.0.1:1/x"), "small letters"),
    ],
)
async def test_a_wrong_node_is_one_line(options: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    status, out, err = await run("serve", "--data", str(tmp_path), *options)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert reason in err


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://x@y/z", "postgresql://"),
        ("postgresql://bos:geheim@db1/x", "no password"),
        ("postgresql://bos@db1/x?password=geheim", "no password"),
    ],
)
async def test_a_wrong_url_on_the_command_line_is_one_line(url: str, reason: str, tmp_path: Path) -> None:
    status, _, err = await run("serve", "--data", str(tmp_path), "--database", url)
    assert status == 2
    assert reason in err
    assert "geheim" not in err


def test_folder_and_database_keep_the_name_of_the_first_start(tmp_path: Path) -> None:
    assert read_home(tmp_path) is None
    assert settle_home(tmp_path, HOME, None, move_here=False) == "n1"
    assert read_home(tmp_path) == HOME
    later = attrs.evolve(HOME, node="n2")
    assert settle_home(tmp_path, later, "n1", move_here=False) == "n1"
    assert settle_home(tmp_path, later, None, move_here=False) == "n1", "killed between folder and database"
    with pytest.raises(WrongDatabase, match="another data folder"):
        settle_home(tmp_path, later, "n3", move_here=False)
    other = Home("n2", "7/6", "database y on db1", "host=db1 dbname=y")
    with pytest.raises(WrongDatabase, match="another database"):
        settle_home(tmp_path, other, "n1", move_here=False)
    assert settle_home(tmp_path, other, "n9", move_here=True) == "n1"
    assert read_home(tmp_path) == attrs.evolve(other, node="n1")


def test_a_note_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / HOME_NAME).write_text("{")
    with pytest.raises(WrongDatabase, match="cannot be read"):
        read_home(tmp_path)
