"""Plain English wherever a person reads: the rules of CONTRIBUTING.md, "Prose", as far as a pattern can hold them.

Read are the pages, texts for people in `builderos/` (help, errors, logs), texts of the web client, and docstrings and
comments of all Python code. Code spans are left out: names on the wire, on disk and in the config stay as they are.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.wrap_markdown import WIDTH, wrap
from tests.test_imports import ALLOWED, ROOT

BANNED: Final = {
    r"mothers?": "fork server",
    r"funerals?|bur(?:y|ies|ied|ying|ials?)": "clean up, reap, recovery",
    r"second thoughts?": "start-up warnings",
    r"doors?": "name what it is: port, socket, gap",
    r"pulses?": "heartbeat",
    r"ears?": "name what it is",
    r"mend(?:s|ed|ing)?": "fix",
    r"anew|afresh": "again, new",
    r"whoever": "name who: a device, a person, an author",
    r"(?<!there )(?:is|are|was|were) no(?! longer)": "is not a …, must be …",
    r"(?:himself|herself|he|she|him|his|hers?)": "a process is it; a person is you or they",
    r"(?:goes|go|went|going|gone) on": "continues, happens",
    r"told|tells": "say, show, report, print, send, return",
    r"unforeseen": "unexpected",
    r"passing (?:files?|folders?|news|sessions?)": "temporary",
    r"(?:none|true|false|nothing|empty|ignored|lost|dropped) where": "if",
    r"see the module": "say it, or write no docstring",
}
"""Pattern of a word, in any case: what to write instead."""

TO_DO: Final = frozenset[str]()
"""Folders of code whose texts are still to be rewritten. It only shrinks: a clean folder must leave it."""

PAGES: Final = [*sorted(ROOT.glob("*.md")), ROOT / "tests" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
PAGES_TO_DO: Final = frozenset[str]()
"""Pages that are still to be rewritten, or come with other work. It only shrinks."""

MAX_NAME: Final = 60
"""Characters of a test's name."""

WEB: Final = ROOT / "transport" / "web"
PYTHON: Final = [
    path for folder in (*ALLOWED, "tests", "bench") for path in sorted((ROOT / folder).rglob("*.py"))
]

_WORDS: Final = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in BANNED), re.IGNORECASE)
_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"``.+?``|`[^`]*`", re.DOTALL)
_TARGET: Final = re.compile(r"\]\([^)]*\)|<!--.*?-->", re.DOTALL)
_JS: Final = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`", re.DOTALL
)


def hits(text: str) -> list[str]:
    """Return the banned words of a text, in order."""
    return [found.group().lower() for found in _WORDS.finditer(" ".join(text.split()))]


def advice(word: str) -> str:
    """Return what to write instead."""
    return next(use for pattern, use in BANNED.items() if re.fullmatch(pattern, word, re.IGNORECASE))


def prose_of_page(text: str) -> str:
    """Return a page without its code; of the change log only the newest part."""
    newest = "\n## [".join(text.split("\n## [")[:2])
    return _TARGET.sub("]", _SPAN.sub("`", _FENCE.sub("", newest)))


def docs_of_python(source: str) -> Iterator[str]:
    """Yield docstrings, of constants too, and comments."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield _SPAN.sub("`", node.value.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield _SPAN.sub("`", token.string)


def texts_of_python(source: str) -> Iterator[str]:
    """Yield literals that have a blank in them; a key or an id has none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield _SPAN.sub("`", node.value)


def texts_of_web(source: str) -> Iterator[str]:
    """Yield comments, and literals that have a blank in them."""
    for found in _JS.finditer(source):
        if found["comment"]:
            yield _SPAN.sub("`", found[0])
        elif " " in found[0]:
            yield re.sub(r"\$\{[^}]*\}", "", found[0])


def all_of(texts: Iterator[str]) -> list[str]:
    return [word for text in texts for word in hits(text)]


def found_in_code() -> dict[str, dict[str, list[str]]]:
    """Return for each folder its files with banned words."""
    files: dict[Path, list[str]] = {}
    for path in PYTHON:
        if hits(source := path.read_text()):  # to parse them all takes seconds
            files[path] = all_of(docs_of_python(source))
            if path.is_relative_to(ROOT / "builderos"):
                files[path] += all_of(texts_of_python(source))
    files |= {path: all_of(texts_of_web(path.read_text())) for path in sorted(WEB.rglob("*.js"))}
    files |= {path: hits(path.read_text()) for path in sorted(WEB.glob("*.html"))}
    files[Path(__file__)] = []  # it has the words
    folders: dict[str, dict[str, list[str]]] = {}
    for path, words in files.items():
        if words:
            folder = path.parent.relative_to(ROOT).as_posix()
            folders.setdefault(folder, {})[path.name] = words
    return folders


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.relative_to(ROOT).as_posix() not in PAGES_TO_DO]
)
def test_page_words(page: Path) -> None:
    found = hits(prose_of_page(page.read_text()))
    assert {word: advice(word) for word in found} == {}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.relative_to(ROOT).as_posix() not in PAGES_TO_DO]
)
def test_page_line_length(page: Path) -> None:
    text = _FENCE.sub("", page.read_text())
    lines = [line for line in text.splitlines() if len(line) > WIDTH and " " in line.strip()]
    assert [line for line in lines if not line.lstrip().startswith("|")] == [], "make format wraps them"


def test_names_of_tests_are_short() -> None:
    """CONTRIBUTING.md has the bound."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    names = [name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())]
    assert len(names) > 2000, "the tests are read"
    assert [name for name in names if len(name) > MAX_NAME] == []


def test_code_words() -> None:
    found = found_in_code()
    assert {folder: files for folder, files in found.items() if folder not in TO_DO} == {}
    assert TO_DO - set(found) == set(), "these folders are clean: take them out of TO_DO"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The mother is told.", ["mother", "told"]),
        ("None where it is gone, where it lies.", ["none where"]),
        ("It is no file, and goes\non.", ["is no", "goes on"]),
        ("There is no file, and it is no longer read.", []),
        ("Remember the year, recommend another; the theme is here.", []),
    ],
)
def test_finds_planted_words(text: str, words: list[str]) -> None:
    assert hits(text) == words
    assert all(advice(word) for word in words)


def test_code_is_left_out() -> None:
    assert hits(prose_of_page("`mend` and\n```\ntold\n```\n[x](door.md)")) == []
    assert all_of(docs_of_python('x = "told you"  # `mend`\n')) == []
    assert all_of(docs_of_python('"""Told."""\nx = 1\n"""Anew."""  # mends\n')) == ["told", "anew", "mends"]
    assert all_of(texts_of_python('f"told {x}"; "mend"')) == ["told"]
    assert all_of(texts_of_web("a('told you', 'mend', b); // anew")) == ["told", "anew"]


def test_wrap() -> None:
    text = f"{'word ' * 30}1 - 2\nx.\n\n- {'`a b` ' * 30}\n  end"
    page = f"# {'Title ' * 30}\n\n{text}\n\n| {'cell ' * 30}|\n\n```\na\n  b\n```\n"
    wrapped = wrap(page)
    assert wrap(wrapped) == wrapped
    assert " ".join(wrapped.split()) == " ".join(page.split())
    assert max(len(line) for line in wrapped.splitlines() if line[0:1] not in "#|") <= WIDTH
    assert not [line for line in wrapped.splitlines() if line.count("`") % 2 and "```" not in line]
    assert wrap(f"{'x' * 97} 1 - 2\n") == f"{'x' * 97}\n1 - 2\n"
