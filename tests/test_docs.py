"""What the pages say can be done as it stands there: configs load, commands parse, paths exist, figures agree."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from builderos.cli import make_parser
from builderos.config import parse_config
from tests.test_imports import ALLOWED, ROOT
from transport.limits import BURST, FRAMES_PER_S

PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^```(?P<kind>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\s*(?:\$ |sudo )?(?:\.venv/bin/)?builderos (?P<rest>[a-z].*)$", re.MULTILINE)
# `builderos/NAME` is a branch of a worktree.
_ROOTS = "actors|bench|bridgehub(?!/[0-9])|builderos(?!/NAME`)|deploy|docs|storage|tests|transport"
_PATH = re.compile(rf"`((?:{_ROOTS})/[\w./-]+)(?:::[^`]*)?`")
_FILE = re.compile(r"`([\w-]+\.(?:py|js))`")
_CONSTANT = re.compile(r"`((?:[a-z_0-9]+\.)+[A-Z][A-Z_0-9]{2,})`")
_FRAME_RATE = re.compile(r"(?P<rate>[\d,]+) frames a second(?: for long, or (?P<burst>[\d,]+) at once)?")

_DECISION = re.compile(
    r"# \d+\. .+\n\n- Status: (accepted|proposed|replaced by \d+)\n- Date: 20\d\d-\d\d-\d\d\n\n"
    r"## Context\n.+\n## Decision\n.+\n## Consequences\n.+",
    re.DOTALL,
)


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


def _found(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield page and name of each hit; the change log names what was."""
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            yield from (
                (page.relative_to(ROOT).as_posix(), found[1]) for found in pattern.finditer(page.read_text())
            )


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_a_config_loads(page: str, text: str) -> None:
    parse_config(text)


def test_commented_keys_load_too() -> None:
    """A person takes the `#` away: each such key must be known at the place where it stands."""
    (sample,) = [
        text
        for page, text in blocks("toml")
        if page == "docs/user/configuration.md" and "heartbeat_s" in text
    ]
    parse_config(re.sub(r"^# (?=[a-z_]+ = )", "", sample, flags=re.MULTILINE))


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_line_parses(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    without_brackets = re.sub(r"\[([^\]]*)\]", r"\1", line.split(" | ")[0])
    words = shlex.split(without_brackets, comments=True)
    try:
        make_parser({}, words[:1]).parse_args(words)
    except SystemExit:
        pytest.fail(f"{page}: builderos {line}: {capsys.readouterr().err}")


def test_a_named_file_exists() -> None:
    """A file that is named without its folder is somewhere in the tree."""
    there = {path.name for folder in ALLOWED for path in (ROOT / folder).rglob("*.*")}
    there |= {path.name for folder in ("tests", "bench") for path in (ROOT / folder).rglob("*.py")}
    missing = {f"{page}: {name}" for page, name in _found(_FILE) if name not in there}
    assert missing == set()


def test_a_named_constant_exists() -> None:
    """`folder.module.NAME` is a constant of a module whose path ends so."""
    sources = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for folder in ALLOWED
        for path in (ROOT / folder).rglob("*.py")
    }

    def is_there(dotted: str) -> bool:
        module, _, name = dotted.rpartition(".")
        end = f"/{module.replace('.', '/')}.py"
        return any(
            f"/{path}".endswith(end) and re.search(rf"^{name}\b", text, re.MULTILINE)
            for path, text in sources.items()
        )

    named = set(_found(_CONSTANT))
    assert len(named) > 20, "the table of bounds is read"
    assert {f"{page}: {dotted}" for page, dotted in named if not is_there(dotted)} == set()


def test_a_named_path_exists() -> None:
    missing = {f"{page}: {path}" for page, path in _found(_PATH) if not (ROOT / path).exists()}
    assert missing == set()


def test_the_frame_rate_is_the_same_everywhere() -> None:
    found = [(page, rate) for page in PAGES for rate in _FRAME_RATE.finditer(page.read_text())]
    assert len(found) >= 3, "the places are read"
    for page, told in found:
        assert told["rate"] == f"{FRAMES_PER_S:,.0f}", page
        assert told["burst"] in {None, f"{BURST:,}"}, page


def test_a_decision_has_its_parts_and_is_listed() -> None:
    index = (ROOT / "docs/decisions/index.md").read_text()
    pages = sorted((ROOT / "docs/decisions").glob("0*.md"))
    assert len(pages) >= 8
    for page in pages:
        assert _DECISION.fullmatch(page.read_text()), page.name
        assert f"({page.name})" in index, page.name


def test_the_glossary_has_each_word_once() -> None:
    words = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/internals/glossary.md").read_text(), re.MULTILINE)
    counts = Counter(word for word in words if word not in ("word", "---"))
    assert len(counts) > 60, "the glossary is read"
    assert {word for word, count in counts.items() if count > 1} == set()


def test_a_link_of_the_readme_leads_somewhere() -> None:
    """`make docs` holds the links of docs/; this holds those of the pages beside it."""
    links = [
        (page, link)
        for page in ROOT.glob("*.md")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    ]
    assert len(links) > 20, "the README is read"
    assert {f"{page.name}: {link}" for page, link in links if not (ROOT / link).exists()} == set()


def test_the_readme_links_to_each_page() -> None:
    links = set(re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text()))
    pages = {
        str(page.relative_to(ROOT))
        for room in ("user", "internals")
        for page in ROOT.glob(f"docs/{room}/*.md")
    }
    assert pages - links == set()
