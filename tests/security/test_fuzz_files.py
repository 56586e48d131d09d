"""Files that somebody hands us: old databases to import, backups to restore. Whatever is in them, there is one line.

Each is taken whole, or refused with exit status 1, one line that holds nothing of it, and everything as it was;
nothing is ever written beside the data folder. What is tried is made by a seed.
"""

from __future__ import annotations

import io
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from builderos.commands.audit import run_audit
from builderos.commands.backup import run_backup, run_restore
from builderos.commands.import_ import run_import
from builderos.commands.verify import run_verify
from tests.builderos.commands.backups import NOW_MS, whole
from tests.builderos.commands.test_import_ import options, rows
from tests.builderos.old_server import said, write_old
from tests.security.mutations import spoiled_many

SECRET = "PLANTED-word-of-a-conversation"
SEED = 20261122

TALK = [said(minute, ("user", "assistant")[minute % 2], f"{SECRET} {minute}") for minute in range(40)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an old database `old.db`, a data folder `data` and its backup `saved.tar`."""
    folder = tmp_path_factory.mktemp("f")
    write_old(folder / "old.db", {"trip": TALK, "other": TALK[:4]})
    write_old(folder / "first.db", {"mine": TALK[:2]})
    assert run_import(options(folder / "data", folder / "first.db")) == 0
    (folder / "data" / "api-key").write_text("k" * 64 + "\n")
    (folder / "data" / "uploads" / "x_note.txt").write_bytes(b"a note")
    (folder / "data" / "blobs" / "mine").mkdir(mode=0o700)
    (folder / "data" / "blobs" / "mine" / ("a" * 64)).write_bytes(b"a blob")
    assert run_backup(folder / "saved.tar", folder / "data", now_ms=NOW_MS) == 0
    return folder


def outside(folder: Path) -> set[str]:
    """Return what lies beside the data folders."""
    return {str(path) for path in folder.rglob("*") if "data" not in path.relative_to(folder).parts[:1]}


def check_refusal(told: Any, where: object) -> None:
    assert told.out == "", where
    assert told.err.count("\n") == 1, (where, told.err)
    assert SECRET not in told.err, where
    assert "Traceback" not in told.err


# ---- imports ----


def test_a_spoiled_old_database(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, data = tmp_path / "spoiled.db", tmp_path / "data"
    taken = 0
    for number, content in spoiled_many([(place / "old.db").read_bytes()], 60, SEED):
        file.write_bytes(content)
        capsys.readouterr()
        before = len(whole(data)) if data.exists() else 0
        status = run_import(options(data, file))
        told = capsys.readouterr()
        if status == 0:
            taken += 1
            shutil.rmtree(data)
            continue
        assert status == 1
        check_refusal(told, number)
        assert len(whole(data)) == before, number
    assert 0 < taken < 60, "some are not hurt by it, most are"


HOSTILE_VALUES: list[Any] = [
    None,
    "",
    "x" * 100_000,
    -(2**70),
    1e308,
    True,
    [],
    {},
    {"role": "user"},
    "\ud800",
    "\0",
    "../../etc/passwd",
    "'; DROP TABLE session; --",
    "</script><script>alert(1)</script>",
    "\x1b[2J\u202e",
    [[[[[[[[[[]]]]]]]]]],
]


def hostile_databases(folder: Path) -> Iterator[tuple[str, Path]]:
    """Make databases in the old form with values in them that no old server wrote."""
    random = Random(SEED)
    for field in ("role", "content", "timestamp", "metadata"):
        message = [{**said(n, "user", "x"), field: value} for n, value in enumerate(HOSTILE_VALUES)]
        yield field, write_old(folder / f"{field}.db", {"trip": [*message, said(50, "user", "x")]})
    names = ("id", "filename", "mime_type", "size", "type", "url")
    files = [{name: random.choice(HOSTILE_VALUES) for name in names} for _ in range(100)]
    yield "attachments", write_old(folder / "files.db", {"trip": [said(0, "user", "x", *files)]})
    ids = ("", ".", "..", "../x", "a/b", "a\0b", "x" * 5000, " ", "\x1b[2J", "=x", "mine", "a\nb")
    yield "ids", write_old(folder / "ids.db", dict.fromkeys(ids, TALK[:2]))
    for number, data in enumerate(
        ("null", "[]", "7", "{", '{"messages":7}', '{"messages":[null,7,[]]}', "[" * 100_000, "\0", "1e999")
    ):
        path = write_old(folder / f"data{number}.db", {"trip": TALK})
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE sessions SET data = ?", (data,))
        yield f"data {data[:20]}", path
    for kind, value in (
        ("blob", b"\xff\xfe\0"),
        ("number", 7),
        ("long", "9" * 5000),
        ("year", "99999-01-01"),
    ):
        path = write_old(folder / f"{kind}.db", {"trip": TALK})
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "UPDATE sessions SET agent_type = ?1, created_at = ?1, last_activity = ?1", (value,)
            )
        yield f"columns {kind}", path
    path = write_old(folder / "no-id.db", {"trip": TALK})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE sessions SET session_id = NULL")
    yield "no id", path
    path = folder / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:  # what is listed is not to be found
        connection.execute(
            "CREATE VIEW sessions AS SELECT hex(randomblob(9)) AS session_id, 'claude' AS agent_type,"
            " 'd' AS device_id, '{}' AS data, 'now' AS created_at, 'now' AS last_activity"
        )
    yield "another id each time", path
    path = folder / "view.db"
    with closing(sqlite3.connect(path)) as connection, connection:  # a table that is none, and never ends
        connection.execute(
            "CREATE VIEW sessions AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50)"
            " SELECT 's' || i AS session_id, 'claude' AS agent_type, 'd' AS device_id,"
            " '{}' AS data, 'now' AS created_at, 'now' AS last_activity FROM n"
        )
    yield "a view", path


def test_hostile_old_databases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken, refused = [], []
    (tmp_path / "old").mkdir()
    for name, file in hostile_databases(tmp_path / "old"):
        data = tmp_path / "data"
        capsys.readouterr()
        before = outside(tmp_path)
        status = run_import(options(data, file))
        told = capsys.readouterr()
        assert outside(tmp_path) == before, name
        assert "\x1b" not in told.out + told.err, f"{name}: a terminal would obey"
        if status == 0:
            taken.append(name)
            for session_id, *_ in rows(data, "SELECT session_id FROM session"):
                assert 1 <= len(session_id) <= 128, name
            (kinds,) = rows(data, "SELECT count(*) FROM journal")
            assert kinds[0] < 5000
        else:
            refused.append(name)
            check_refusal(told, name)
        shutil.rmtree(data, ignore_errors=True)
    assert {"content", "role"} <= set(taken)
    assert {"data {", "no id", "another id each time"} <= set(refused)


# ---- the folder's own database ----


def test_a_damaged_database(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What reads the folder's own database reports damage, in one line if it can say no more."""
    data = copy_of(place, tmp_path)
    database = data / "builderos.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        names = ["at_ms", "act", "device_id", "address", "session_id", "subject", "count", "hash"]
        values = f"INSERT INTO audit ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        for number in range(30):
            connection.execute(
                values, (number, "sign_in_failed", "k\x1b[2J", "::1", "s", SECRET, 1, b"h" * 32)
            )
    sound = database.read_bytes()
    found = set()
    for number, content in spoiled_many([sound], 60, SEED):
        database.write_bytes(content)
        for ask in (
            partial(run_audit, data, None, None, as_json=False),
            partial(run_audit, data, None, None, as_json=True),
            partial(run_verify, data),
        ):
            capsys.readouterr()
            found.add(ask())
            told = capsys.readouterr()
            assert "Traceback" not in told.err
            assert "\x1b" not in told.out + told.err, number
            assert told.err.count("\n") <= 2, (number, told.err)
    assert found == {0, 1}


# ---- backups ----


def copy_of(place: Path, tmp_path: Path) -> Path:
    data = tmp_path / "data"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(place / "data", data)
    return data


def test_a_spoiled_backup(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = copy_of(place, tmp_path), tmp_path / "spoiled.tar"
    sound = (place / "saved.tar").read_bytes()
    database = place / "data" / "builderos.db"
    samples = [sound, sound, database.read_bytes()]
    before = whole(data)
    for number, content in spoiled_many(samples, 90, SEED):
        file.write_bytes(content)
        capsys.readouterr()
        status = run_restore(file, data, now_ms=NOW_MS)
        told = capsys.readouterr()
        if status == 0:
            assert rows(data, "PRAGMA integrity_check") == [("ok",)], number
            data = copy_of(place, tmp_path)
            before = whole(data)
            continue
        assert status == 1
        check_refusal(told, number)
        assert whole(data) == before, number


@pytest.mark.parametrize("kept", ["{", "7", '{"turn":7}', "\ud800"])
def test_a_bare_database_with_a_session_that_cannot_be_read(
    kept: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, file = copy_of(place, tmp_path), tmp_path / "bare.db"
    shutil.copyfile(place / "data" / "builderos.db", file)
    with closing(sqlite3.connect(file)) as connection, connection:
        snapshot = kept.encode("utf-8", "surrogatepass")
        connection.execute("UPDATE summary SET snapshot = ?", (snapshot,))
    before = whole(data)
    capsys.readouterr()
    assert run_restore(file, data, now_ms=NOW_MS) == 1
    told = capsys.readouterr()
    check_refusal(told, kept)
    assert str(file) in told.err
    assert whole(data) == before


def member(name: str, content: bytes = b"x", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in more.items():
        setattr(info, field, value)
    return info, content


HOSTILE_MEMBERS: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "above": [member("../escape")],
    "far above": [member("uploads/../../../escape")],
    "absolute": [member("/tmp/escape-of-a-backup")],
    "a folder's name": [member("uploads/a/b/c")],
    "a dot": [member("uploads/.")],
    "nothing": [member("")],
    "a null": [member("uploads/a\0b")],
    "a backslash": [member("uploads\\..\\escape")],
    "long": [member("uploads/" + "x" * 5000)],
    "a hub's socket": [member("hubs/x/pid")],
    "a lock": [member("lock")],
    "the log": [member("server.log")],
    "a link": [member("uploads/l", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "a link, then through it": [
        member("uploads/l", b"", type=tarfile.SYMTYPE, linkname=".."),
        member("uploads/l/escape"),
    ],
    "a hard link": [member("uploads/h", b"", type=tarfile.LNKTYPE, linkname="../api-key")],
    "a device": [member("uploads/d", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "a pipe": [member("uploads/p", b"", type=tarfile.FIFOTYPE)],
    "a folder in a file's place": [member("builderos.db", b"", type=tarfile.DIRTYPE)],
    "another database": [member("builderos.db", b"SQLite format 3\0" + b"\0" * 100)],
    "a key twice": [member("api-key", b"1"), member("api-key", b"2")],
    "a setuid bit": [member("uploads/s", b"x", mode=0o4777)],
}


@pytest.mark.parametrize("first", [True, False], ids=["before the rest", "behind the rest"])
@pytest.mark.parametrize("name", HOSTILE_MEMBERS)
def test_a_backup_with_a_hostile_member(
    name: str, first: bool, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, file = copy_of(place, tmp_path), tmp_path / "hostile.tar"
    members: list[tuple[tarfile.TarInfo, bytes]] = []
    with tarfile.open(place / "saved.tar") as sound:
        for info in sound:
            opened = sound.extractfile(info)
            members.append((info, b"" if opened is None else opened.read()))
    with tarfile.open(file, "w") as tar:
        for info, content in (
            [*HOSTILE_MEMBERS[name], *members] if first else [*members, *HOSTILE_MEMBERS[name]]
        ):
            tar.addfile(info, io.BytesIO(content))
    before, beside = whole(data), outside(tmp_path)
    capsys.readouterr()
    status = run_restore(file, data, now_ms=NOW_MS)
    told = capsys.readouterr()
    assert outside(tmp_path) == beside
    assert not Path("/tmp/escape-of-a-backup").exists()
    assert status == 1, "what is no part of a backup makes it none"
    check_refusal(told, name)
    assert whole(data) == before
