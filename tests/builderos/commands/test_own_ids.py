"""The iOS app's own ids in commands and imports: the ids still work, and only aliases come out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from builderos.client.state import Follow
from builderos.client.wire.frames import decode
from builderos.commands.audit import run_audit
from builderos.commands.export import run_export
from builderos.commands.import_ import run_import
from storage.store import open_store
from storage.tables.hash_chain import Act
from tests.builderos.commands.test_import_ import TALK, options, rows
from tests.builderos.old_server import write_old
from tests.builderos.terminal import run_command
from tests.support.server import open_server

PHONE = "0A1B2C3D-1111-4222-8333-444444444444"
SESSION = f"{PHONE}-claude-5E6F7A8B-1111-4222-8333-444444444444"


def imported(folder: Path) -> tuple[Path, str]:
    """Return a data folder with one imported session, and what that is called there."""
    data = folder / "data"
    assert run_import(options(data, write_old(folder / "a.db", {SESSION: TALK}))) == 0
    ((alias,),) = rows(data, "SELECT session_id FROM session")
    assert alias.startswith("ios-")
    return data, str(alias)


def test_an_import_keeps_aliases_and_knows_its_messages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, alias = imported(tmp_path)
    assert PHONE.encode() not in (data / "builderos.db").read_bytes()
    assert rows(data, "SELECT session_id, burnt FROM app_known") == [(alias, 0)]
    assert run_import(options(data, tmp_path / "a.db")) == 0
    told = capsys.readouterr()
    assert "4 messages were already imported." in told.out
    assert PHONE not in told.out + told.err


def test_an_export_takes_either_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, alias = imported(tmp_path)
    capsys.readouterr()
    told: list[str] = []
    for name in (SESSION, alias):
        assert run_export((data, None, None), name, "json") == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert PHONE not in told[0]
    assert alias in told[0]


def test_the_audit_finds_older_rows_by_either_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, alias = imported(tmp_path)

    async def note() -> None:
        async with open_store(data / "builderos.db", boot_id="boot") as store:
            await store.audit.append([Act(at_ms=1, act="session_deleted", session_id=SESSION)])

    trio.run(note)
    capsys.readouterr()
    for name in (SESSION, alias):
        assert run_audit(data, name, None, as_json=False) == 0
        told = capsys.readouterr().out
        assert "session_deleted" in told
        assert told.count("sent") == 2
        assert PHONE not in told
    assert run_audit(data, alias, None, as_json=True) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["session_id"] == SESSION, "the hash covers it"


def test_a_terminal_takes_the_name_that_the_server_answers_with() -> None:
    follow = Follow(SESSION)
    follow.attach_frame()
    attached = {
        "type": "attached",
        "session_id": "ios-0123456789ab",
        "epoch": 1,
        "from_seq": 1,
        "replay": "ok",
    }
    common = {"content": "", "timestamp": ""}
    assert follow.take(decode(json.dumps(attached | common).encode())) == []
    assert follow.attached
    assert follow.session_id == "ios-0123456789ab"
    other = {"type": "attached", "session_id": "trip", "epoch": 1, "from_seq": 1, "replay": "ok"}
    follow.take(decode(json.dumps(other | common).encode()))
    assert follow.session_id == "ios-0123456789ab"


async def test_send_and_export_over_a_server_take_the_apps_own_id(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        status, told, _ = await run_command(server, "send", SESSION, "hello", "--agent", "echo", "--wait")
        assert (status, told.strip()) == (0, "echo: hello")
        url = ("--url", server.url, "--key", server.key)
        status, told, wrong = await run_command(server, "export", SESSION, "--format", "json", *url)
        assert status == 0, wrong
        assert '"ios-' in told
        assert PHONE not in told
