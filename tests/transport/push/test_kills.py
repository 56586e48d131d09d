"""A server may be killed between any two states of a delivery; and the check finds planted mistakes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.server import ROOT


def kill(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.transport.push.kills", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_thirty_kills() -> None:
    done = kill("30", "--seed", "1000")
    assert (done.returncode, done.stdout) == (0, "30 rounds: all holds\n"), done.stdout + done.stderr


@pytest.mark.parametrize("mistake", ["position", "sending", "recall"])
def test_a_planted_mistake_is_found(mistake: str) -> None:
    done = kill("60", "--seed", "25", "--plant", mistake)
    assert done.returncode == 1, done.stdout
    assert done.stdout.startswith("round "), done.stdout + done.stderr
