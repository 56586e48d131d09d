"""The script of a build service: what it runs, and what it installs on a bare machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.server import ROOT

SCRIPT = ROOT / ".ci" / "run"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a `make` that notes what it is asked for, and fails if there is a file `broken`."""
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/made"\ntest ! -e "{tmp_path}/broken"\n')
    make.chmod(0o755)
    return tmp_path


def run(programs: Path, **environment: str) -> tuple[int, list[str]]:
    """Run the script on a machine that has everything; return its status and what was made."""
    given = {name: value for name, value in os.environ.items() if name not in ("CI", "WITH_POSTGRES")}
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run([str(SCRIPT)], env={**given, "PATH": path, **environment}, check=False)
    return done.returncode, (programs / "made").read_text().split()


@pytest.mark.parametrize(
    ("environment", "made"),
    [({}, ["test"]), ({"WITH_POSTGRES": "0"}, ["test"]), ({"WITH_POSTGRES": "1"}, ["test", "test-postgres"])],
)
def test_one_switch_adds_postgresql(programs: Path, environment: dict[str, str], made: list[str]) -> None:
    assert run(programs, **environment) == (0, made)


def test_a_failed_run_is_one(programs: Path) -> None:
    (programs / "broken").touch()
    status, made = run(programs, WITH_POSTGRES="1")
    assert status != 0
    assert made == ["test"]


@pytest.mark.parametrize("switch", ["0", "1"])
def test_what_a_bare_machine_lacks(switch: str, tmp_path: Path) -> None:
    """The function of the script alone, where no program is found."""
    script = SCRIPT.read_text()
    function = script[script.index("missing_packages()") :].partition("\n}\n")[0] + "\n}\nmissing_packages\n"
    command = f"command() {{ return 1; }}; compgen() {{ return 1; }}; WITH_POSTGRES={switch}; {function}"
    done = subprocess.run(
        ["bash", "-c", command],
        env={"PATH": str(tmp_path), "PYTHON": "/nowhere"},
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    lacks = done.stdout.split()
    assert {"make", "python3-venv", "npm", "tmux", "chromium"} <= set(lacks)
    assert ("postgresql" in lacks) is (switch == "1")
