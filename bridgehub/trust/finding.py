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
import orjson

from bridgehub.protocol.requests import MAX_RUNS, trust_input
from bridgehub.trust.reading import project_folders, sha256_of

__all__ = ["Findings", "Notes", "Run", "hook_commands", "server_command", "strings_of"]

MAX_NAME_CHARS = 200
MAX_COMMAND_CHARS = 500

MAX_TOLD_BYTES = 96 * 1024
"""JSON of all that a request shows: an event holds 128 KiB. What does not fit is shown as a number."""


MAX_FLAT_CHARS = 4096
"""Of a name or a command; two that differ later count as one, and their file's hash distinguishes them."""

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
"""Files that a program reads its commands from without an option that names them."""


@attrs.frozen
class Run:
    """One thing that would run or hold. `origin`: its file, seen from the folder; `command`: what it runs."""

    kind: str
    name: str
    origin: str
    command: str = ""

    def told(self) -> dict[str, str]:
        """Return it as a request shows it."""
        told = {"kind": self.kind, "name": _cut(self.name, MAX_NAME_CHARS)}
        told["from"] = _cut(self.origin, MAX_NAME_CHARS)
        return told | ({"command": _cut(self.command, MAX_COMMAND_CHARS)} if self.command else {})


@attrs.frozen
class Findings:
    """What was found in `folder`.

    Attributes:
        folder: the folder whose trust counts.
        runs: all that runs there.
        digest: of these files, and those that they run; any other state of theirs has another one; empty if nothing runs.
        environment: the variables that the folder sets.
    """

    folder: str
    runs: tuple[Run, ...] = ()
    digest: str = ""
    environment: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """Return the question in one line of plain words."""
        count = "1 thing" if len(self.runs) == 1 else f"{len(self.runs)} things"
        return f"Trust the folder {self.folder}? It holds {count} that would run or count by themselves."

    def told(self, agent: str) -> dict[str, Any]:
        """Return the input of the request that asks about it, for that kind of agent."""
        shown: list[dict[str, str]] = []
        left = MAX_TOLD_BYTES
        for run in self.runs[:MAX_RUNS]:
            told = run.told()
            left -= len(orjson.dumps(told))
            if left < 0:
                break
            shown.append(told)
        return trust_input(agent, self.folder, shown, len(self.runs) - len(shown))


@attrs.define(eq=False)
class Notes:
    """What a finder has found so far. `counts_as`: the folder whose trust counts for the workspace; empty: its own."""

    workspace: Path
    counts_as: str = ""
    folders: list[Path] = attrs.field(init=False)
    environment: set[str] = attrs.field(factory=set)
    _runs: dict[Run, None] = attrs.field(factory=dict)
    _files: dict[Path, None] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.folders = project_folders(self.workspace)

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.folders[-1]

    def note(self, path: Path, kind: str, name: object, command: object = "") -> None:
        """Note one thing of a file."""
        if kind == "environment":
            self.environment.add(str(name))
        self._runs[Run(kind, _flat(name), self._seen_from(path), _flat(command))] = None
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
        return Findings(folder, runs, digest, frozenset(self.environment))

    def _seen_from(self, path: Path) -> str:
        return os.path.relpath(path, self.workspace)


def server_command(server: Any) -> Any:
    """Return what the entry of an MCP server runs or calls."""
    table = server if isinstance(server, dict) else {}
    if "command" not in table:
        return table.get("url", "")
    arguments = table.get("args")
    return [table["command"], *(arguments if isinstance(arguments, list) else ())]


def hook_commands(groups: Any) -> list[str]:
    """Return what the hooks of one event run; one empty text for what is not a list of hooks but is something."""
    found = []
    for group in groups if isinstance(groups, list) else ():
        inner = group.get("hooks") if isinstance(group, dict) else None
        for hook in inner if isinstance(inner, list) else ():
            table = hook if isinstance(hook, dict) else {}
            found.append(str(table.get("command") or table.get("url") or table.get("prompt") or ""))
    return found or ([""] if groups else [])


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
    for word in {plain, *_BREAKS.split(plain)} - {""}:
        modules = (f"{word.replace('.', '/')}.py", f"{word}/__main__.py", f"{word}.js", f"{word}/index.js")
        for name in (word, *_BY_PROGRAM.get(word, ()), *modules):
            if len(name) > MAX_FLAT_CHARS or "\0" in name:
                continue
            for base in bases:
                path = Path(os.path.normpath(base / name))
                if path.is_relative_to(root) and _is_file(path):
                    yield path


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _flat(value: object) -> str:
    """Return what a command, or a list of its words, says, on one line and without control characters."""
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = text[:MAX_FLAT_CHARS]
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
