"""What of a folder would run: found from files alone, whatever a stranger put there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from bridgehub.protocol.requests import MAX_RUNS
from bridgehub.trust.claude_files import find_claude
from bridgehub.trust.codex_files import find_codex
from bridgehub.trust.finding import MAX_TOLD_BYTES, Findings
from bridgehub.trust.instructions import MAX_BYTES, claude_instructions, codex_instructions
from bridgehub.trust.reading import MAX_CONFIG_BYTES, MAX_FILES_OF_A_FOLDER
from bridgehub.trust.records import is_kept, is_named, is_trusted_by_claude, is_trusted_by_codex, keep
from tests.support.hostile import CLAUDE_EVENTS, CODEX_EVENTS, make_hostile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    return folder


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def claude(folder: Path) -> Findings:
    return find_claude(str(folder), folder.parent / "home" / ".claude")


def codex(folder: Path) -> Findings:
    return find_codex(str(folder), folder.parent / "home" / ".codex")


def told(found: Findings) -> set[tuple[str, str, str]]:
    return {(run.kind, run.name, run.origin) for run in found.runs}


def test_all_traps_of_a_hostile_repository_are_listed(folder: Path) -> None:
    make_hostile(folder, folder.parent / "sprung", "http://127.0.0.1:1")
    of_claude, of_codex = told(claude(folder)), told(codex(folder))
    settings = ".claude/settings.json"
    assert {("hook", event, settings) for event in CLAUDE_EVENTS} <= of_claude
    assert {("server", "evil", ".mcp.json"), ("server", "calls", ".mcp.json")} <= of_claude
    assert {("helper", "apiKeyHelper", settings), ("helper", "statusLine", settings)} <= of_claude
    assert ("environment", "ANTHROPIC_BASE_URL", settings) in of_claude
    assert {
        ("permission", "Bash", settings),
        ("permission", "defaultMode: acceptEdits", settings),
    } <= of_claude
    assert ("hook", "SessionStart", ".claude/settings.local.json") in of_claude
    assert ("setting", "enableAllProjectMcpServers", settings) in of_claude
    assert ("skill", "trap", ".claude/skills/trap/SKILL.md") in of_claude
    config = ".codex/config.toml"
    assert {("hook", event, ".codex/hooks.json") for event in CODEX_EVENTS} <= of_codex
    assert {
        ("server", "evil", config),
        ("helper", "notify", config),
        ("environment", "HOSTILE", config),
    } <= of_codex
    assert {("permission", "sandbox_mode: danger-full-access", config)} <= of_codex
    assert ("permission", "default.rules", ".codex/rules/default.rules") in of_codex
    commands = {run.name: run.command for run in claude(folder).runs if run.kind == "server"}
    assert commands["evil"].startswith("/bin/sh -c touch ")
    assert commands["calls"] == "http://127.0.0.1:1/mcp"


def test_a_folder_with_text_alone_holds_nothing_that_runs(folder: Path) -> None:
    write(folder / "CLAUDE.md", "be kind\n")
    write(folder / "AGENTS.md", "be kind\n")
    write(folder / ".claude" / "rules" / "a.md", "be kind\n")
    write(folder / ".claude" / "commands" / "hi.md", "---\ndescription: says hi\n---\nSay hi!\n")
    write(folder / ".claude" / "settings.json", {"model": "opus", "permissions": {"deny": ["Bash"]}})
    write(folder / ".codex" / "config.toml", 'model = "gpt-5.5"\n')
    for found in (claude(folder), codex(folder)):
        assert (found.runs, found.digest) == ((), "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".claude/settings.json", {"somethingNew": {"command": "x"}}),
        (".claude/settings.json", {"env": {"A": "b"}}),
        (".claude/settings.json", {"permissions": {"defaultMode": "bypassPermissions"}}),
        (".claude/settings.json", {"hooks": {"Stop": "no list"}}),
        (".claude/settings.json", "{not JSON"),
        (".claude/settings.json", " " * (MAX_CONFIG_BYTES + 1)),
        (".claude/settings.json", [1]),
        (".claude/settings.local.json", {"apiKeyHelper": "x"}),
        (".claude/scheduled_tasks.json", {"tasks": [{"cron": "* * * * *", "prompt": "x"}]}),
        (".claude/workflows/x.js", "run()"),
        (".claude/commands/deep/x.md", "go: !`touch x`\n"),
        (".claude/agents/x.md", "---\nname: x\nmcpServers:\n  - y\n---\n"),
        (".claude/skills/x/SKILL.md", "---\nname: x\nhooks:\n  Stop: []\n---\n"),
        (".mcp.json", {"mcpServers": {"x": {"command": "y"}}}),
    ],
)
def test_what_is_not_known_to_be_harmless_counts_for_claude(folder: Path, name: str, content: Any) -> None:
    write(folder / name, content)
    found = claude(folder)
    assert found.runs
    assert found.digest
    assert {run.origin for run in found.runs} == {name}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.toml", "something_new = 1\n"),
        ("config.toml", "[mcp_servers.x]\ncommand = 'y'\n"),
        ("config.toml", "[[hooks.Stop]]\nmatcher = '*'\n"),
        ("config.toml", "[shell_environment_policy]\ninherit = 'none'\n"),
        ("config.toml", "= no TOML"),
        ("hooks.json", "no JSON"),
        ("rules/x.rules", "allow"),
        ("agents/x.toml", "name = 'x'"),
    ],
)
def test_what_is_not_known_to_be_harmless_counts_for_codex(folder: Path, name: str, content: Any) -> None:
    write(folder / ".codex" / name, content)
    assert {run.origin for run in codex(folder).runs} == {f".codex/{name}"}


def test_files_above_count_as_far_as_the_program_reads_them(folder: Path) -> None:
    (folder / ".git").mkdir()
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    write(folder.parent / ".mcp.json", {"mcpServers": {"far": {"command": "x"}}})
    write(folder / ".claude" / "agents" / "x.md", "---\npermissionMode: acceptEdits\n---\n")
    write(folder / ".codex" / "config.toml", "notify = ['x']\n")
    write(folder.parent / ".codex" / "config.toml", "notify = ['x']\n")
    assert told(claude(below)) == {
        ("server", "far", "../../../.mcp.json"),
        ("agent", "x", "../../.claude/agents/x.md"),
    }
    assert told(codex(below)) == {("helper", "notify", "../../.codex/config.toml")}


def test_the_persons_own_settings_are_no_folders(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(home / ".claude" / "settings.json", {"apiKeyHelper": "mine"})
    write(home / ".codex" / "config.toml", "notify = ['mine']\n")
    assert not find_claude(str(home), home / ".claude").runs
    assert not find_codex(str(home), home / ".codex").runs


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("sh ./tools/run.sh --fast", "tools/run.sh"),
        ("$CLAUDE_PROJECT_DIR/tools/run.sh", "tools/run.sh"),
        ('"${CLAUDE_PROJECT_DIR}/tools/run.sh" x', "tools/run.sh"),
        ("cd x && python -m tools.check", "tools/check.py"),
        ("node server", "server/index.js"),
        ("npm run lint", "package.json"),
        ("make check", "Makefile"),
        ("env CONFIG=conf/a.toml x", "conf/a.toml"),
    ],
)
def test_files_that_a_command_runs_count_with_it(folder: Path, command: str, file: str) -> None:
    write(folder / ".claude" / "settings.json", {"hooks": {"Stop": [{"hooks": [{"command": command}]}]}})
    write(folder / file, "one")
    before = claude(folder)
    write(folder / "other.txt", "changed")
    assert claude(folder).digest == before.digest
    write(folder / file, "two")
    assert claude(folder).digest != before.digest


def test_settings_change_the_digest_and_the_place_does_not(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for place in (folder, other):
        write(place / ".mcp.json", {"mcpServers": {"x": {"command": "y"}}})
    assert claude(folder).digest == claude(other).digest, "a worktree counts as its repository"
    assert find_claude(str(other), tmp_path / "h", counts_as=str(folder)).folder == str(folder)
    assert codex(folder).digest == ""
    write(other / ".mcp.json", {"mcpServers": {"x": {"command": "z"}}})
    assert claude(folder).digest != claude(other).digest


def test_pipes_loops_and_devices_keep_nobody_waiting(folder: Path) -> None:
    (folder / ".claude").mkdir()
    (folder / ".codex").mkdir()
    os.mkfifo(folder / ".claude" / "settings.json")
    os.symlink("/dev/zero", folder / ".mcp.json")
    os.symlink("config.toml", folder / ".codex" / "config.toml")
    os.mkfifo(folder / "CLAUDE.md")
    os.mkfifo(folder / "AGENTS.md")
    assert {run.origin for run in claude(folder).runs} == {".claude/settings.json", ".mcp.json"}
    assert {run.origin for run in codex(folder).runs} == {".codex/config.toml"}
    assert claude_instructions(str(folder), folder / "x") == codex_instructions(str(folder)) == ""


def test_what_a_person_is_told_is_bounded(folder: Path) -> None:
    hooks = [{"hooks": [{"command": f"\x1b]0;x\x07 é\n{number} " + "é" * 600}]} for number in range(200)]
    write(
        folder / ".claude" / "settings.json",
        {"hooks": {"Stop": hooks}, "env": {f"V{n}": "x" for n in range(300)}},
    )
    for number in range(MAX_FILES_OF_A_FOLDER + 10):
        write(folder / ".claude" / "agents" / f"{number}.md", "---\nhooks: x\n---\n")
    found = claude(folder)
    asked = found.told("claude")
    assert len(asked["runs"]) <= MAX_RUNS
    assert len(asked["runs"]) + asked["more"] == len(found.runs) == 200 + 300 + 501
    assert len(orjson.dumps(asked)) < MAX_TOLD_BYTES + 1000
    assert asked["runs"][0]["command"].startswith("]0;x é 0 éé")
    assert all(line.isprintable() for run in asked["runs"] for line in run.values())


# ---- who trusts it already ----


def test_the_persons_own_records_count(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {"HOME": str(home)}
    assert not is_trusted_by_claude(str(folder), env)
    write(home / ".claude.json", {"projects": {str(folder): {"hasTrustDialogAccepted": False}}})
    assert not is_trusted_by_claude(str(folder), env)
    write(home / ".claude.json", {"projects": {str(folder.parent): {"hasTrustDialogAccepted": True}}})
    assert is_trusted_by_claude(str(folder), env)
    write(home / ".claude.json", "broken")
    assert not is_trusted_by_claude(str(folder), env)
    codex_home = home / ".codex"
    assert not is_trusted_by_codex(str(folder), codex_home)
    (folder / ".git").mkdir()
    write(codex_home / "config.toml", f'[projects."{folder}"]\ntrust_level = "trusted"\n')
    (folder / "sub").mkdir()
    assert is_trusted_by_codex(str(folder), codex_home)
    assert is_trusted_by_codex(str(folder / "sub"), codex_home)
    assert not is_trusted_by_codex(str(folder.parent), codex_home)
    write(codex_home / "config.toml", f'[projects."{folder}"]\ntrust_level = "untrusted"\n')
    assert not is_trusted_by_codex(str(folder), codex_home)


def test_the_operators_list_counts_with_what_is_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    os.symlink(tmp_path / "a", tmp_path / "link")
    named = (str(tmp_path / "a"),)
    assert is_named(str(tmp_path / "a" / "b"), named)
    assert is_named(str(tmp_path / "link" / "b"), named)
    assert not is_named(str(tmp_path / "ab"), named)
    assert not is_named(str(tmp_path / "a" / ".."), named)


def test_trust_is_for_one_state_of_one_folder_and_kind(tmp_path: Path) -> None:
    store = tmp_path / "trust"
    found = Findings("/w", (), "abc")
    assert not is_kept(str(store), "claude", found)
    keep(str(store), "claude", found)
    assert is_kept(str(store), "claude", found)
    assert not is_kept(str(store), "codex", found)
    assert not is_kept(str(store), "claude", Findings("/w", (), "abd"))
    assert not is_kept(str(store), "claude", Findings("/v", (), "abc"))
    assert not is_kept("", "claude", found)
    assert [oct(path.stat().st_mode & 0o777) for path in (store, *store.iterdir())] == ["0o700", "0o600"]


# ---- instructions ----


def test_instructions_are_those_of_the_folder_and_above_it(folder: Path) -> None:
    (folder / ".git").mkdir()
    below = folder / "sub"
    write(folder / "CLAUDE.md", "of the root\n")
    write(folder / "AGENTS.md", "of agents at the root\n")
    write(below / "AGENTS.md", "of agents below\n")
    write(below / "CLAUDE.local.md", "@docs/more.md and @../up.md\n")
    write(below / "docs" / "more.md", "brought in\n")
    write(folder / "up.md", "not brought in\n")
    write(below / ".claude" / "rules" / "a.md", "a rule\n")
    text = claude_instructions(str(below), folder / "x")
    order = ["of the root", "of agents below", "a rule", "@docs/more.md", "brought in"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "of agents at the root" not in text
    assert "not brought in" not in text
    text = codex_instructions(str(below))
    assert text.index("of agents at the root") < text.index("of agents below")
    write(below / "AGENTS.override.md", "instead\n")
    text = codex_instructions(str(below))
    assert "instead" in text
    assert "of agents below" not in text


def test_a_link_out_of_the_project_is_not_read(folder: Path) -> None:
    secret = write(folder.parent / "secret", "the key\n")
    os.symlink(secret, folder / "CLAUDE.md")
    os.symlink(secret, folder / "AGENTS.md")
    assert claude_instructions(str(folder), folder / "x") == ""
    assert codex_instructions(str(folder)) == ""
    (folder / "CLAUDE.md").unlink()
    write(folder / "CLAUDE.md", "read @linked @/etc/hostname @~/.ssh/id\n")
    os.symlink(secret, folder / "linked")
    assert "the key" not in claude_instructions(str(folder), folder / "x")


def test_instructions_are_bounded(folder: Path) -> None:
    write(folder / "CLAUDE.md", "é" * MAX_BYTES)
    text = claude_instructions(str(folder), folder / "x")
    assert len(text.encode()) < MAX_BYTES + 1000
    assert text.endswith("too long.]")
