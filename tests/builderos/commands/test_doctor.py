"""What the doctor finds on machines that lack something."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import apsw
import pytest

from builderos.agent_checks import Finding
from builderos.commands.doctor import examine, git_lines, run_doctor
from storage.tables.notifications.channels import NewChannel
from tests.storage.stores import opened


def find(
    data: Path, about: str, *, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Finding:
    home = data.parent / "home"
    found = [finding for finding in examine(data, config, environment or {}, home) if finding.about == about]
    return found[0]


def make_database(data: Path) -> None:
    connection = apsw.Connection(str(data / "builderos.db"))
    connection.execute("CREATE TABLE sessions (session_id TEXT); INSERT INTO sessions VALUES ('trip')")
    connection.close()


def test_a_fresh_machine_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor(tmp_path / "data", None) == 0
    out = capsys.readouterr().out
    assert "the first start creates" in out
    assert "BROKEN" not in out
    assert not (tmp_path / "data").exists()


def test_a_folder_in_use(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    make_database(tmp_path)
    assert find(tmp_path, "database") == Finding("ok", "database", "1 sessions")
    assert "held by nobody" in find(tmp_path, "data folder").detail
    assert find(tmp_path, "clock").state == "ok"
    assert find(tmp_path, "disk").detail.endswith("GB free")


def test_a_database_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "builderos.db").write_bytes(b"something else " * 1000)
    assert find(tmp_path, "database").state == "broken"
    assert run_doctor(tmp_path, None) == 1
    assert "BROKEN database" in capsys.readouterr().out


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert find(tmp_path / "data", "data folder").state == "broken"


def test_a_folder_that_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    findings = [
        finding for finding in examine(tmp_path / "data", None, {}, tmp_path) if finding.state == "note"
    ]
    assert any(finding.fix == f"chmod 700 {tmp_path / 'data'}" for finding in findings)


def test_a_wrong_config_is_told(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("nonsense = 1")
    assert find(tmp_path, "config", config=config).state == "broken"


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    hub = tmp_path / "hubs" / "abc"
    hub.mkdir(parents=True)
    os.utime(hub, (2**32, 2**32))
    assert find(tmp_path, "clock").state == "note"


def test_agents_and_how_to_sign_in(tmp_path: Path) -> None:
    assert find(tmp_path, "agent echo").state == "ok"
    claude = find(tmp_path, "agent claude")
    assert "/login" in claude.fix or "keychain" in claude.detail
    assert find(tmp_path, "agent claude", environment={"ANTHROPIC_API_KEY": "k3y"}) == Finding(
        "ok", "agent claude", "installed, signed in by ANTHROPIC_API_KEY"
    )
    assert find(tmp_path, "agent codex").fix.endswith("codex login")
    keys = {"OPENAI_API_KEY": "k3y", "CODEX_API_KEY": "k3y"}
    assert find(tmp_path, "agent codex", environment=keys).state == "note", "Codex does not read them"
    folder = tmp_path / "codex"
    folder.mkdir()
    (folder / "auth.json").write_text("{}")
    assert find(tmp_path, "agent codex", environment={"CODEX_HOME": str(folder)}).state == "ok"


@pytest.mark.parametrize(
    ("home", "temporary", "has_bubblewrap", "is_told"),
    [
        ("t/codex", "t", True, True),
        ("t/codex", "t", False, False),
        ("codex", "t", True, False),
        ("t", "t/below", True, False),
        ("link/codex", "t", True, True),
    ],
)
def test_a_codex_home_in_the_temporary_folder(
    home: str,
    temporary: str,
    has_bubblewrap: bool,
    is_told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "t")
    if has_bubblewrap:
        (tmp_path / "bwrap").touch(mode=0o700)
    environment = {
        "PATH": str(tmp_path),
        "CODEX_HOME": str(tmp_path / home),
        "TMPDIR": str(tmp_path / temporary),
    }
    monkeypatch.setattr("sys.platform", "linux")
    found = [
        one for one in examine(tmp_path, None, environment, tmp_path) if one.about == "agent codex sandbox"
    ]
    assert [(one.state, bool(one.fix)) for one in found] == ([("note", True)] if is_told else [])


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("", "note"),
        ("model_provider = 'mine'", "note"),
        ("[model_providers.mine]\nname = 'x'", "note"),
        ("model_provider = 'mine'\n[model_providers.mine]\nname = 'x'", "ok"),
        ("model_provider = 'mine'\n[model_providers.mine]\nrequires_openai_auth = true", "note"),
        ("model_provider = [", "note"),
    ],
)
def test_a_model_provider_of_ones_own_is_a_sign_in(tmp_path: Path, text: str, state: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    found = find(tmp_path, "agent codex", environment={"CODEX_HOME": str(tmp_path)})
    assert found.state == state
    assert ("mine" in found.detail) == (state == "ok")


def test_an_agent_of_ones_own(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[agents.r]\nkind = 'bridgehub/1.0'\ndirection = 'd'\ncommand = ['no-such-program']")
    assert find(tmp_path, "agent r", config=config).state == "note"
    config.write_text("[agents.c]\nkind = 'claude'\ncli_path = '/no/such/program'")
    assert "/no/such/program" in find(tmp_path, "agent c", config=config).detail


def test_git_that_is_missing_or_too_old_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent))
    assert [(line.state, line.about) for line in git_lines(tmp_path)] == [("note", "git")]
    program.write_text("#!/bin/sh\necho git version 2.20.1\n")
    program.chmod(0o755)
    (finding,) = git_lines(tmp_path)
    assert finding.state == "note"
    assert "2.20.1" in finding.detail
    assert "2.38" in finding.fix


async def test_notifications_from_nothing_to_the_last_card(tmp_path: Path) -> None:
    def lines(config: Path | None = None) -> dict[str, str]:
        found = examine(tmp_path, config, {}, tmp_path)
        return {
            one.about: f"{one.state} {one.detail}" for one in found if one.about.startswith("notifications")
        }

    assert "no device has turned them on yet" in lines()["notifications"]
    database = tmp_path / "builderos.db"
    async with opened(database) as store:
        assert lines()["notifications"] == "note no device has turned them on"
        await store.devices.add(name="d", scope="view", key="k", device_id="d", now_ms=1)
        for kind, state in (("web", "live"), ("apns", "live"), ("ntfy", "failing")):
            channel = NewChannel(
                channel_id=kind, kind=kind, owner="d", label=kind, address=kind, origin="http://a"
            )
            await store.notifications.channels.register(channel, 1)
            await store.notifications.channels.mark(kind, state, None)
    found = lines()
    assert found["notifications web"] == "ok 1 live"
    assert found["notifications ntfy"] == "note 1 failing"
    assert found["notifications apns"].startswith("note")
    assert found["notifications contact"].startswith("note")
    assert found["notifications shown"] == "note no device has reported a card yet"
