"""`builderos desk`: the hook is added with consent and taken out exactly; without a server it says nothing."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bridgehub.desk import hook as hook_script
from builderos.commands.desk import run_install, run_remove, run_status
from builderos.desk_hook import DeskHook, HookError

OWN = (
    b'{\n\t"model" : "opus",   "hooks": {"Stop": [{"hooks": []}],\n'
    b' "PermissionRequest": [{"hooks": [{"type":"command","command":"x"}]}]} }'
)


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeskHook:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    return DeskHook(tmp_path / "claude" / "settings.json", tmp_path / "data")


@pytest.mark.parametrize("before", [None, b"", b"{}", OWN, b'{"hooks":{}}\n\n'])
def test_removal_leaves_the_settings_byte_equal(hook: DeskHook, before: bytes | None) -> None:
    if before is not None:
        hook.settings.parent.mkdir()
        hook.settings.write_bytes(before)
        hook.settings.chmod(0o640)
    assert run_install(hook.data, yes=True) == 0
    settings = json.loads(hook.settings.read_bytes())
    commands = [one["command"] for group in settings["hooks"]["PermissionRequest"] for one in group["hooks"]]
    assert commands[-1] == hook.command
    written = hook.settings.read_bytes()
    assert run_install(hook.data, yes=True) == 0
    assert hook.settings.read_bytes() == written
    assert run_remove(hook.data) == 0
    if before is None:
        assert not hook.settings.exists()
    else:
        assert hook.settings.read_bytes() == before
        assert hook.settings.stat().st_mode & 0o777 == 0o640
    assert list(hook.settings.parent.glob("*builderos*")) == []
    assert run_remove(hook.data) == 0


def test_removal_keeps_what_was_changed_since(hook: DeskHook) -> None:
    assert run_install(hook.data, yes=True) == 0
    settings = json.loads(hook.settings.read_bytes())
    settings["model"] = "sonnet"
    settings["hooks"]["Stop"] = [{"hooks": []}]
    hook.settings.write_text(json.dumps(settings))
    assert run_remove(hook.data) == 0
    assert json.loads(hook.settings.read_bytes()) == {"model": "sonnet", "hooks": {"Stop": [{"hooks": []}]}}


def test_without_consent_nothing_is_changed(
    hook: DeskHook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run_install(hook.data, yes=False) == 1
    assert not hook.settings.exists()
    shown = capsys.readouterr()
    assert "PermissionRequest" in shown.out
    assert "nothing was changed" in shown.err
    assert run_status(hook.data) == 0
    assert "not installed" in capsys.readouterr().out


@pytest.mark.parametrize("broken", [b"[1]", b"{", b'{"hooks": 5}', b'{"hooks": {"PermissionRequest": {}}}'])
def test_settings_of_another_form_are_left_alone(hook: DeskHook, broken: bytes) -> None:
    hook.settings.parent.mkdir()
    hook.settings.write_bytes(broken)
    with pytest.raises(HookError):
        hook.plan()
    assert run_install(hook.data, yes=True) == 1
    assert hook.settings.read_bytes() == broken


def run_hook(data: Path, question: bytes, **env: str) -> tuple[int, bytes, bytes]:
    command = [sys.executable, "-I", hook_script.__file__, str(data)]
    done = subprocess.run(command, input=question, capture_output=True, timeout=20, env=env, check=False)
    return done.returncode, done.stdout, done.stderr


def test_hook_says_nothing_without_a_server_that_is_this_users(tmp_path: Path) -> None:
    assert run_hook(tmp_path, b"{}") == (0, b"", b"")
    path = tmp_path / "desk.sock"
    (tmp_path / "desk-socket").write_text(str(path))
    assert run_hook(tmp_path, b"{}") == (0, b"", b"")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        path.chmod(0o666)  # anybody could be at its other end
        assert run_hook(tmp_path, b"{}") == (0, b"", b"")
        path.chmod(0o600)
        assert run_hook(tmp_path, b"{}", BUILDEROS_HUB="a session of ours") == (0, b"", b"")
    assert run_hook(tmp_path, b"{}") == (0, b"", b"")  # nobody listens any more
