"""`builderos agents`: known agents, their tables, and what one says of itself."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from bridgehub.agents.acp.known import KNOWN
from builderos.cli import main
from builderos.commands.agents import add_table
from builderos.commands.doctor import examine
from builderos.config import AcpAgent, load_config, parse_config
from tests.standin.acp_rig import agent_command

NAMES = ["opencode", "gemini", "qwen", "copilot", "vibe", "goose", "cursor", "claude-acp"]


def test_the_list_has_a_line_for_each_known_agent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    for line in lines:
        name = line.split()[0]
        assert KNOWN[name].install in line
        assert tomllib.loads(line.rpartition("  |  ")[2]) == tomllib.loads(KNOWN[name].table())
    assert main(["agents", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_what_is_installed_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "opencode"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    main(["agents"])
    states = {line.split()[0]: "not installed" not in line for line in capsys.readouterr().out.splitlines()}
    assert [name for name, is_there in states.items() if is_there] == ["opencode"]


@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_one_that_the_server_takes(name: str) -> None:
    agent = parse_config(KNOWN[name].table()).agents[name]
    assert isinstance(agent, AcpAgent)
    assert agent.command == KNOWN[name].command


def test_a_table_is_appended_and_readable_by_its_owner_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    assert main(["agents", "add", "opencode", "--data", str(data)]) == 0
    path = data / "config.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert main(["agents", "add", "gemini", "--data", str(data)]) == 0
    assert list(load_config(path).agents)[-2:] == ["opencode", "gemini"]
    assert "npm install -g opencode-ai" in capsys.readouterr().out
    before = path.read_bytes()
    assert main(["agents", "add", "gemini", "--data", str(data)]) == 1
    assert path.read_bytes() == before
    assert "already" in capsys.readouterr().err


def test_a_named_file_keeps_its_lines_its_rights_and_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "link.toml"
    real.write_text("heartbeat_s = 20 # mine")
    real.chmod(0o640)
    link.symlink_to(real)
    assert main(["agents", "add", "qwen", "--config", str(link)]) == 0
    assert link.is_symlink()
    assert real.read_text().startswith("heartbeat_s = 20 # mine\n\n[agents.qwen]\n")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_file_that_is_wrong_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[agents]\nqwen = 3\n")
    assert main(["agents", "add", "gemini", "--config", str(path)]) == 2
    assert "agents.qwen" in capsys.readouterr().err
    assert path.read_text() == "[agents]\nqwen = 3\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["agents", "add"], "needs the name"),
        (["agents", "add", "nobody"], "not among the known agents"),
        (["agents", "check", "nobody"], "there is no agent nobody"),
        (["agents", "list", "opencode"], "takes no name"),
    ],
)
def test_wrong_words_are_told(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--data", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def config_of(tmp_path: Path, standin: str) -> Path:
    """Write a config with the stand-in as the agent `mine`."""
    words = ", ".join(f'"{word}"' for word in agent_command(tmp_path))
    path = tmp_path / "config.toml"
    path.write_text(
        f"[agents.mine]\nkind = \"acp\"\ncommand = [{words}]\nenv = {{ ACP_STANDIN = '{standin}' }}\n"
    )
    return path


def test_a_check_says_version_protocol_sign_in_and_modes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_of(tmp_path, "{}")
    assert main(["agents", "check", "mine", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mine: Stand-in 1.2.3",
        "protocol: version 1",
        "earlier conversations: loaded",
        "takes: text, images, files",
        "signed in: yes, it began a conversation",
        "modes: Ask, Plan, Never ask",
        "models: Small, Large",
    ]


@pytest.mark.parametrize(
    ("standin", "told"), [('{"signed_in": false}', "Use a key"), ('{"version": 7}', "version 7")]
)
def test_a_check_says_what_is_wrong(
    standin: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config_of(tmp_path, standin)
    assert main(["agents", "check", "mine", "--config", str(path)]) == 1
    assert told in capsys.readouterr().err


def test_a_check_waits_as_long_as_the_table_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_of(tmp_path, "{}")
    path.write_text(path.read_text().replace('kind = "acp"', 'kind = "acp"\nstart_s = 0.01'))
    assert main(["agents", "check", "mine", "--config", str(path)]) == 1
    assert "mine did not start within 0.01 s" in capsys.readouterr().err


def test_a_check_of_a_missing_agent_names_its_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["agents", "check", "goose", "--data", str(tmp_path)]) == 1
    assert KNOWN["goose"].install in capsys.readouterr().err


def test_the_doctor_names_the_install_command_of_an_agent(tmp_path: Path) -> None:
    assert add_table("opencode", tmp_path / "config.toml") == 0
    found = {one.about: one for one in examine(tmp_path, None, {"PATH": str(tmp_path)}, tmp_path)}
    assert (found["agent opencode"].state, found["agent opencode"].fix) == (
        "note",
        "npm install -g opencode-ai",
    )
    environment = {"PATH": os.path.dirname(sys.executable)}
    (tmp_path / "config.toml").write_text('[agents.mine]\nkind = "acp"\ncommand = ["python"]\n')
    found = {one.about: one for one in examine(tmp_path, None, environment, tmp_path)}
    assert found["agent mine"].state == "ok"
