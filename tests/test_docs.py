"""What the pages say can be done as it stands there: configs load, commands parse, paths exist, figures agree."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

import pytest

from builderos.cli import _make_parser
from builderos.config import parse_config
from tests.test_imports import ROOT
from transport.frame_rate import BURST, FRAMES_PER_S

PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^```(?P<kind>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\s*(?:\$ |sudo )?(?:\.venv/bin/)?builderos (?P<rest>[a-z].*)$", re.MULTILINE)
_PATH = re.compile(
    r"`(?P<path>(?:actors|bench|bridgehub|builderos|deploy|docs|storage|tests|transport)/[\w./-]+)(?:::[^`]*)?`"
)
_FRAME_RATE = re.compile(r"(?P<rate>[\d,]+) frames a second(?: for long, or (?P<burst>[\d,]+) at once)?")


def blocks(kind: str) -> list[tuple[str, str]]:
    """Return page and text of each block of a kind."""
    return [
        (page.relative_to(ROOT).as_posix(), found["text"])
        for page in PAGES
        for found in _BLOCK.finditer(page.read_text())
        if found["kind"] == kind
    ]


def command_lines() -> list[tuple[str, str]]:
    """Return page and words of each line of a block that runs `builderos`."""
    return [
        (page.relative_to(ROOT).as_posix(), found["rest"])
        for page in PAGES
        for block in _BLOCK.finditer(page.read_text())
        for found in _COMMAND.finditer(block["text"])
    ]


def named_paths() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        if page.name != "CHANGELOG.md":  # it tells of what was
            yield from (
                (page.relative_to(ROOT).as_posix(), found["path"])
                for found in _PATH.finditer(page.read_text())
            )


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_a_config_loads(page: str, text: str) -> None:
    parse_config(text)


def test_commented_keys_load_too() -> None:
    """A person takes the `#` away: each such key must be known at the place where it stands."""
    (sample,) = [
        text for page, text in blocks("toml") if page == "docs/configuration.md" and "heartbeat_s" in text
    ]
    parse_config(re.sub(r"^# (?=[a-z_]+ = )", "", sample, flags=re.MULTILINE))


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_line_parses(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line.split(" | ")[0], comments=True)
    try:
        _make_parser({}).parse_args(words)
    except SystemExit:
        pytest.fail(f"{page}: builderos {line}: {capsys.readouterr().err}")


def test_a_named_path_exists() -> None:
    missing = {f"{page}: {path}" for page, path in named_paths() if not (ROOT / path).exists()}
    assert missing == set()


def test_the_frame_rate_is_the_same_everywhere() -> None:
    found = [(page, rate) for page in PAGES for rate in _FRAME_RATE.finditer(page.read_text())]
    assert len(found) >= 3, "the places are read"
    for page, told in found:
        assert told["rate"] == f"{FRAMES_PER_S:,.0f}", page
        assert told["burst"] in {None, f"{BURST:,}"}, page
