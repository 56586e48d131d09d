"""What the program reads from this process lies on no disk, or in a private file that goes with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bridgehub.agents.claude.held_file import hold


def read_by_another(path: str) -> bytes:
    return subprocess.run(["/bin/cat", path], capture_output=True, check=False).stdout


def test_another_process_reads_it_until_it_is_closed(tmp_path: Path) -> None:
    held = hold(b"secret", str(tmp_path))
    path = held.path
    assert read_by_another(path) == read_by_another(path) == b"secret"
    if hasattr(os, "memfd_create"):
        assert not list(tmp_path.iterdir()), "nothing is on the disk"
    held.close()
    held.close()
    assert not held.path
    assert not os.path.exists(path)


def test_without_such_memory_it_is_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    one, two = hold(b"one", str(tmp_path)), hold(b"two", str(tmp_path))
    assert [read_by_another(held.path) for held in (one, two)] == [b"one", b"two"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    one.close()
    two.close()
    assert not list(tmp_path.iterdir())
