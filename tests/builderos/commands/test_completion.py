"""`builderos completion`: real shells read the scripts; bash completes with one."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from builderos.cli import COMMANDS
from builderos.commands.completion import SHELLS, run_completion


def script_of(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run_completion(shell) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_commands_and_options(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDEROS_API_KEY", "secret-of-this-shell")
    monkeypatch.setenv("BUILDEROS_DATA", "/folder-of-this-shell")
    script = script_of(shell, capsys)
    for word in (*COMMANDS, "take-over", "message-id"):
        assert word in script
    assert "of-this-shell" not in script
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=script.encode(), check=True, timeout=60)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["se"], ["serve", "sessions", "send"]),
        (["export", "--f"], ["--format"]),
        (["devices", "re"], ["revoke"]),
    ],
)
def test_bash_completes(words: list[str], completed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = " ".join(f"'{word}'" for word in words)
    ask = (
        f'COMP_WORDS=(builderos {line}); COMP_CWORD={len(words)}; _shtab_builderos; echo "${{COMPREPLY[*]}}"'
    )
    script = script_of("bash", capsys) + "\n" + ask
    done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().split() == completed
