"""What of a folder would run by itself if an agent's program loaded the folder's settings there.

A finder (`claude_files`, `codex_files`) reads the files that its program reads, from the folder up to its project's
root, and notes each thing that runs or gives a right. It errs on the safe side: what it cannot read or does not
know counts. Blocking: use a thread.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from bridgehub.trust.reading import project_folders, read_file, sha256_of

__all__ = ["MAX_RUNS", "Findings", "Notes", "Run", "strings_of"]

MAX_RUNS = 200
"""Things of one folder that a person is shown; the rest is told as a number."""

MAX_NAME_CHARS = 200
MAX_COMMAND_CHARS = 500
"""A request is one event: 200 of these stay below its bound of 128 KiB."""

MAX_SHOWN_CHARS = 48 * 1024
"""Characters of all commands together; those that come later are named only."""

MAX_RUN_FILES = 500
"""Files that commands name, of one folder."""

_BREAKS = re.compile(r"[\s\"'`;|&<>()=,:{}\[\]]+")
_FOLDER_NAMES = re.compile(r"\$\{?(?:CLAUDE_PROJECT_DIR|PWD)\}?/?")

_BY_PROGRAM = {
    "make": ("Makefile", "makefile", "GNUmakefile"),
    "just": ("justfile", "Justfile"),
    "npm": ("package.json",),
    "npx": ("package.json",),
    "pnpm": ("package.json",),
    "yarn": ("package.json",),
    "bun": ("package.json",),
}
"""Files that a program reads its commands from without being told their names."""


@attrs.frozen
class Run:
    """One thing that would run or hold. `origin`: its file, seen from the folder; `command`: what it runs."""

    kind: str
    name: str
    origin: str
    command: str = ""

    def told(self) -> dict[str, str]:
        """Return it as a request tells it."""
        told = {"kind": self.kind, "name": self.name[:MAX_NAME_CHARS], "from": self.origin[:MAX_NAME_CHARS]}
        return told | ({"command": self.command} if self.command else {})


@attrs.frozen
class Findings:
    """What was found in `folder`.

    Attributes:
        folder: the folder whose trust counts.
        runs: at most `MAX_RUNS`.
        more: how many more there are.
        digest: tells these files, and those that they run, from any other state of theirs; empty if nothing runs.
        environment: the variables that the folder sets.
    """

    folder: str
    runs: tuple[Run, ...] = ()
    more: int = 0
    digest: str = ""
    environment: frozenset[str] = frozenset()


@attrs.define(eq=False)
class Notes:
    """What a finder has found so far. `counts_as`: the folder whose trust counts for the workspace; empty: its own."""

    workspace: Path
    counts_as: str = ""
    folders: list[Path] = attrs.field(init=False)
    environment: set[str] = attrs.field(factory=set)
    _runs: dict[Run, None] = attrs.field(factory=dict)
    _files: dict[Path, None] = attrs.field(factory=dict)
    _shown: int = 0

    def __attrs_post_init__(self) -> None:
        self.folders = project_folders(self.workspace)

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.folders[-1]

    def note(self, path: Path, kind: str, name: object, command: object = "") -> None:
        """Note one thing of a file."""
        words = _flat(command)
        if len(words) > MAX_COMMAND_CHARS or self._shown + len(words) > MAX_SHOWN_CHARS:
            words = words[: min(MAX_COMMAND_CHARS, max(0, MAX_SHOWN_CHARS - self._shown))] + "…"
        self._shown += len(words)
        if kind == "environment":
            self.environment.add(str(name))
        self._runs[Run(kind, _flat(name), self._seen_from(path), words)] = None
        self._files[path] = None

    def runs_in(self, path: Path) -> bool:
        """Tell whether anything of that file was noted."""
        return path in self._files

    def note_commands(self, texts: Iterable[str], base: Path) -> None:
        """Note the files inside the project that these texts name: what they run counts with them."""
        for text in texts:
            for path in _named_files(text, (base, self.root), self.root):
                if len(self._files) < MAX_RUN_FILES:
                    self._files[path] = None

    def findings(self, kind: str) -> Findings:
        """Return what was found, for that kind of agent."""
        runs = tuple(self._runs)
        digest = ""
        if runs:
            whole = hashlib.sha256(kind.encode())
            for path in sorted(self._files):
                whole.update(f"\0{self._seen_from(path)}\0{sha256_of(path)}".encode(errors="surrogateescape"))
            digest = whole.hexdigest()
        folder = self.counts_as or os.path.realpath(self.workspace)
        return Findings(
            folder, runs[:MAX_RUNS], max(0, len(runs) - MAX_RUNS), digest, frozenset(self.environment)
        )

    def _seen_from(self, path: Path) -> str:
        return os.path.relpath(path, self.workspace)


def strings_of(value: Any) -> Iterator[str]:
    """Return every text inside a value of JSON or TOML."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings_of(part)


def _named_files(text: str, bases: tuple[Path, ...], root: Path) -> Iterator[Path]:
    plain = _FOLDER_NAMES.sub("./", text)
    words = {plain, *_BREAKS.split(plain)} - {""}
    for word in words:
        names = (word, *_BY_PROGRAM.get(word, ()), f"{word.replace('.', '/')}.py", f"{word}/__main__.py", f"{word}.js", f"{word}/index.js")  # fmt: skip
        for name in names:
            if len(name) > 1024 or "\0" in name:
                continue
            for base in bases:
                path = Path(os.path.normpath(base / name))
                if path.is_relative_to(root) and _is_file(path):
                    yield path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _flat(value: object) -> str:
    """Return what a command, or a list of its words, says, on one line and without control characters."""
    text = " ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def read_text(path: Path) -> str | None:
    """Return a file's text; None if there is none that can be read."""
    data = read_file(path)
    return None if data is None else data.decode("utf-8-sig", errors="replace")
