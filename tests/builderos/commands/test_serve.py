"""What `serve` does before the server's modules are loaded."""

from __future__ import annotations

import linecache
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import attrs
import pytest

from builderos.commands.serve import SourcesOfFiles

_COUNT = """
import linecache
from builderos.commands.serve import SourcesOfFiles
linecache.cache = SourcesOfFiles(linecache.cache)
before = set(linecache.cache)
import builderos.server.run
print(sum(name.startswith("<") for name in set(linecache.cache) - before))
"""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> SourcesOfFiles:
    made = SourcesOfFiles()
    monkeypatch.setattr(linecache, "cache", made)
    return made


def test_no_generated_source_is_kept(cache: SourcesOfFiles) -> None:
    @attrs.frozen
    class Point:
        x: int
        y: int = 2

    assert Point(1) == Point(1, 2)
    assert cache == {}


def test_a_traceback_through_generated_code_shows_files(cache: SourcesOfFiles) -> None:
    def refuse(_self: Any, _attribute: Any, _value: Any) -> None:
        raise ValueError("refused")

    @attrs.define
    class Checked:
        x: int = attrs.field(validator=refuse)

    with pytest.raises(ValueError, match="refused") as raised:
        Checked(1)
    text = "".join(traceback.format_exception(raised.value))
    assert 'raise ValueError("refused")' in text
    assert "in __init__" in text


def test_lines_of_files_are_kept(cache: SourcesOfFiles, tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("first\nsecond\n")
    assert linecache.getline(str(file), 2) == "second\n"
    assert list(cache) == [str(file)]


def test_the_server_s_modules_leave_none() -> None:
    found = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True)
    assert found.stdout == "0\n"
