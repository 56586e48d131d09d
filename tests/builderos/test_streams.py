"""Commands whose standard streams are closed, full or of an encoding that holds no dash: one line, the right status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT

LIMIT_S = 40.0


def run(shell: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command with the redirections of `shell`."""
    line = f'exec "$@" {shell}'
    command = ["/bin/sh", "-c", line, "sh", sys.executable, "-m", "builderos", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=LIMIT_S, check=False)


@pytest.mark.parametrize("shell", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_one_line_and_a_failure(shell: str) -> None:
    done = run(shell, "agents", "list")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("builderos: the output cannot be written: ")
    assert done.stderr.count(b"\n") == 1


def test_nobody_to_tell_is_the_status_alone(tmp_path: Path) -> None:
    for shell in ("2>&-", "2>/dev/full", ">&- 2>&- <&-"):
        done = run(shell, "sessions", "--data", str(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_text_that_the_terminal_cannot_show_is_replaced(tmp_path: Path) -> None:
    done = run(
        "", "send", "--data", str(tmp_path), "trip", "\u00fc \u2014", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    done = run("", "agents", "list", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
