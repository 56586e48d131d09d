"""`doctor --verify`: a sound folder passes, also beside a server at work; each planted damage is reported at its place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import apsw
import attrs
import pytest
import trio

import builderos.commands.verify as command
from actors.events.codec import encode_entry, encode_settings
from actors.events.committed import Committed, Event
from actors.events.conversation import Complete, Delivery, Message, TurnStarted, UserMessage
from actors.events.session import Settings
from actors.events.work import ToolFinished, ToolStarted
from actors.session.apply import apply
from actors.session.snapshot import summary
from actors.session.state import SessionState
from builderos.commands.import_ import ImportOptions, run_import
from builderos.commands.verify import run_verify
from storage.data_folder import blob_path
from storage.records import NewSession
from storage.store import Store, open_store
from storage.tables.hash_chain import Act
from storage.tables.uploads import Upload
from tests.builderos.old_server import said, write_old
from tests.support.server import ROOT, open_server

BLOB = b"a long output " * 100
DIGEST = sha256(BLOB).hexdigest()
UPLOAD = f"{'a' * 32}_note.txt"
TURN: list[Event] = [
    UserMessage("m1", "hello"),
    TurnStarted("m1"),
    Delivery("m1", "handed"),
    Delivery("m1", "consumed"),
    Message("one ", "a", 0),
    ToolStarted("x", "bash", None),
    ToolFinished("x", "bash", "a long", is_error=False, blob={"size": len(BLOB), "sha256": DIGEST}),
    Message("two", "a", 4),
    Delivery("m1", "answered"),
    Complete(2, 7, sha256(b"one two").hexdigest()),
]


async def write_session(store: Store, session_id: str, events: Sequence[Event]) -> None:
    settings = Settings("/")
    new = NewSession(session_id, "echo", "ipad", encode_settings(settings), 1)
    await store.catalog.create(new)
    state = SessionState(session_id, "echo", settings, 1)
    grant = await store.ownership.acquire(session_id)
    for event in events:
        at = state.head_seq + 1
        item = Committed(at, at, 1, "t1", "ipad", event)
        apply(state, item)
        grant = attrs.evolve(
            grant,
            seq=await store.journal.append(
                grant, grant.seq, [encode_entry(item)], durable=False, summary=summary(state)
            ),
        )


async def write_folder(data: Path) -> None:
    async with open_store(data / "builderos.db", boot_id="b") as store:
        for session_id in ("before", "trip", "trop"):
            await write_session(store, session_id, TURN)
            path = blob_path(data, session_id, DIGEST)
            assert path is not None
            path.parent.mkdir(parents=True)
            path.write_bytes(BLOB)
        async with store.uploads.receive("a" * 32) as incoming:
            await incoming.write(b"words")
            await store.uploads.keep(
                incoming, Upload(UPLOAD, "note.txt", "text/plain", "file", 5, "u", "ipad", 1)
            )
        assert await store.uploads.use("trip", [UPLOAD])
        await store.audit.append([Act(at_ms=at, act="signed_in", device_id="ipad") for at in (1, 2, 3)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    trio.run(write_folder, tmp_path)
    return tmp_path


def test_a_sound_folder(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verify(data) == 0
    assert capsys.readouterr().out == "3 sessions, 30 events, 3 blobs, 1 uploads: everything is in order\n"


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("DELETE FROM journal WHERE session_id = 'trip' AND seq = 4", "session trip, seq 5: gap"),
        ("UPDATE journal SET first_seq = 4 WHERE session_id = 'trip' AND seq = 5", "trip, seq 5: overlap"),
        (
            "UPDATE journal SET seq = 11, first_seq = 11 WHERE session_id = 'trip' AND seq = 8",
            "session trip, seq 11: turn: message after the end",
        ),
        ("UPDATE journal SET payload = x'7b' WHERE session_id = 'trip' AND seq = 8", "trip, seq 8: payload"),
        (
            "UPDATE journal SET payload = CAST(replace(payload, 'two', 'TWO') AS BLOB)"
            " WHERE session_id = 'trip' AND seq = 8",
            "session trip, seq 10: text: text_sha256",
        ),
        (
            "UPDATE journal SET payload = CAST(replace(payload, 'handed', 'queued') AS BLOB)"
            " WHERE session_id = 'trip' AND seq = 3",
            "session trip, seq 4: delivery",
        ),
        ("UPDATE session SET head_seq = 11 WHERE session_id = 'trip'", "session trip: head"),
        ("UPDATE summary SET message_count = 3 WHERE session_id = 'trip'", "session trip: count"),
        ("UPDATE summary SET unfinished = 1 WHERE session_id = 'trip'", "session trip: summary"),
        ("DELETE FROM summary WHERE session_id = 'trip'", "session trip: summary"),
        ("DELETE FROM command WHERE session_id = 'trip'", "session trip: command: m1 is not recorded"),
        (
            "UPDATE command SET state = 'handed' WHERE session_id = 'trip'",
            "session trip: command: m1 is recorded",
        ),
        ("UPDATE command SET seq = 2 WHERE session_id = 'trip'", "session trip: command: m1 is recorded"),
        ("DELETE FROM session WHERE session_id = 'trip'", "session trip: stray"),
        ("DELETE FROM upload", "session trip: upload"),
        ("UPDATE audit SET device_id = 'mac' WHERE number = 2", "audit: chain: row 2 was changed"),
        ("DELETE FROM audit WHERE number = 3", "audit: chain: it ends at row 2, but row 3 was recorded"),
        ("UPDATE upload SET size = 6", f"upload {UPLOAD}: upload: its file has 5 bytes"),
    ],
)
def test_damage_in_the_database(data: Path, capsys: pytest.CaptureFixture[str], sql: str, line: str) -> None:
    connection = apsw.Connection(str(data / "builderos.db"))
    connection.execute(sql)
    connection.close()
    assert run_verify(data) == 1
    assert line in capsys.readouterr().out


def test_a_message_of_which_nothing_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It counts as accepted for ever, and sent again it is a duplicate: nobody will ever run it."""

    async def write() -> None:
        async with open_store(tmp_path / "builderos.db", boot_id="b") as store:
            await write_session(store, "trip", [UserMessage("m2", "and?")])

    trio.run(write)
    assert run_verify(tmp_path) == 1
    assert capsys.readouterr().out.startswith("session trip, seq 1: delivery: m2 was accepted, but")


def cut_blob(data: Path) -> None:
    path = blob_path(data, "trip", DIGEST)
    assert path is not None
    path.write_bytes(BLOB[:-1])


def remove_blob(data: Path) -> None:
    path = blob_path(data, "trip", DIGEST)
    assert path is not None
    path.unlink()


def remove_upload(data: Path) -> None:
    (data / "uploads" / UPLOAD).unlink()


def empty_an_index(data: Path) -> None:
    connection = apsw.Connection(str(data / "builderos.db"))
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'journal_turn'").get
    size = connection.pragma("page_size")
    connection.close()
    with (data / "builderos.db").open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\x0a\0\0\0\0" + size.to_bytes(2, "big") + b"\0")  # a leaf without entries


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (cut_blob, f"session trip, seq 7: blob: {DIGEST} of 1400 bytes is "),
        (remove_blob, f"session trip, seq 7: blob: {DIGEST} is missing"),
        (remove_upload, f"upload {UPLOAD}: upload: its file is missing"),
        (empty_an_index, "database: file: row 1 missing from index journal_turn"),
    ],
)
def test_damage_on_the_disk(
    data: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], line: str
) -> None:
    damage(data)
    assert run_verify(data) == 1
    assert line in capsys.readouterr().out


def test_an_upload_whose_server_was_killed(data: Path) -> None:
    path = data / "uploads" / UPLOAD
    path.rename(path.with_name(f"{UPLOAD}.part"))
    assert run_verify(data) == 0


def test_what_was_imported_is_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, data = tmp_path / "sessions.db", tmp_path / "data"
    talk = [
        said(1, "user", "hi"),
        said(2, "assistant", "ho"),
        said(3, "assistant", "Error: no"),
        said(4, "user", "hm"),
    ]
    write_old(old, {"s": talk})
    assert (
        run_import(ImportOptions(files=(old,), data=data, workspace=tmp_path, zone=None, dry_run=False)) == 0
    )
    assert run_verify(data) == 0, capsys.readouterr().out


def test_a_long_check_says_how_far_it_is(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "WORD_S", 0.0)
    assert run_verify(data) == 0
    assert "... 3 sessions, 30 events so far" in capsys.readouterr().err


def test_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verify(tmp_path) == 1
    assert "there is no database yet" in capsys.readouterr().err


def verify_beside(data: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "builderos", "doctor", "--verify", "--data", str(data)]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


async def test_beside_a_server_at_work_and_after_its_crash(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server, server.device() as device:
        for name in ("long", "many"):
            await device.attach(name, agent="echo")
        await device.send("long", "/words 60000 1")
        for _ in range(90):
            await device.send("many", "/words 30 1")
        await device.wait_for("message", session_id="long", start=0)
        done = await trio.to_thread.run_sync(verify_beside, server.data)
        assert done.returncode == 0, done.stdout
        await device.wait_for("message", session_id="long", start=len(device.frames))
        await server.kill9()
        done = await trio.to_thread.run_sync(verify_beside, server.data)
        assert done.returncode == 0, done.stdout
        assert done.stdout.startswith("2 sessions, ")


MOUNTED = "mount --bind {0} {0} && mount -o remount,ro,bind {0}"


@pytest.mark.parametrize("has_log", [False, True])
async def test_a_folder_on_a_read_only_mount_is_read(tmp_path: Path, has_log: bool) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    mount = MOUNTED.format(data)
    tried = await trio.run_process(["unshare", "-m", "sh", "-c", mount], capture_stderr=True, check=False)
    if tried.returncode:
        pytest.skip("this machine mounts nothing for us")
    if has_log:  # a server at work, and then killed
        kept = tmp_path / "kept"
        kept.mkdir(mode=0o700)
        async with open_store(kept / "builderos.db", boot_id="b") as store:
            await write_session(store, "trip", TURN)
            for file in kept.glob("builderos.db*"):
                (data / file.name).write_bytes(file.read_bytes())
        (data / "builderos.db-shm").unlink(missing_ok=True)
        assert (data / "builderos.db-wal").stat().st_size
    else:
        async with open_store(data / "builderos.db", boot_id="b") as store:
            await write_session(store, "trip", TURN)
    for words in (["export", "trip"], ["audit"], ["doctor", "--verify"]):
        command = [sys.executable, "-m", "builderos", *words, "--data", str(data)]
        line = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
        done = await trio.run_process(line, capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT)
        told = done.stdout + done.stderr
        assert b"cannot be" not in told
        # The session's blob was never written, and that is what verify finds: it has read everything.
        assert done.returncode == (1 if words[0] == "doctor" else 0), told
        assert {"export": b"two", "audit": b"", "doctor": b"1 sessions, 10 events"}[words[0]] in told
