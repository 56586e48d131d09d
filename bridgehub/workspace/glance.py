"""A quick look at a small workspace: has nothing changed since git looked last?

Git's list of changes takes 3 to 5 ms, most of it to start, and the prompt of an agent whose tools cannot be held waits
for it. So a folder with few entries is looked at here first. If each entry, and each file with rules of what to ignore,
is as it was when git looked last, git has nothing new to say. Everything else is for git: a larger folder, a part of a
repository, rules that lie elsewhere, and an entry that changed so shortly before the last look that a later change may
have the same time.

Everything here blocks.
"""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from bridgehub.workspace.repository import Repository, stamp_of

__all__ = ["MAX_ENTRIES", "Glances", "Seen"]

MAX_ENTRIES = 200
"""Files and folders that are looked at. A look takes 4 to 5 us for each: with 500 it would take as long as git."""

SETTLED_NS = 100_000_000
"""How old the newest change must be. Clocks of file systems move in steps of up to 10 ms."""

_ELSEWHERE = (b"excludesfile", b"include")
"""Words of a configuration with which it may name more rules."""


@attrs.frozen
class Seen:
    """A workspace at one moment. `newest_ns`: when an entry changed last."""

    rules: tuple[object, ...]
    entries: tuple[tuple[object, ...], ...]
    newest_ns: int = attrs.field(eq=False)


@attrs.define(eq=False)
class Glances:
    """Looks at one workspace again and again. `folder`: its store."""

    workspace: str
    folder: Path
    _seen: Seen | None = None
    _is_large: bool = False

    def look(self, repository: Repository | None) -> Seen | None:
        """Return the workspace as it is; None if only git can tell. Call it before git looks."""
        if self._is_large or (repository is not None and repository.prefix):
            return None
        try:
            rules = self._rules()
            return None if rules is None else self._walked(rules)
        except OSError:
            return None  # something went away meanwhile, or cannot be read

    def note(self, seen: Seen | None) -> None:
        """Remember a look after which git looked too."""
        if seen is not None and self._now_ns() - seen.newest_ns < SETTLED_NS:
            seen = None
        self._seen = seen

    def is_same(self, repository: Repository | None) -> bool:
        """Tell whether nothing has changed since the look that was noted last. False if that is not known."""
        return self._seen is not None and self.look(repository) == self._seen

    def _walked(self, rules: tuple[object, ...]) -> Seen | None:
        entries: list[tuple[object, ...]] = []
        newest = 0
        waiting = [self.workspace]
        while waiting:
            folder = waiting.pop()
            with os.scandir(folder) as found:
                for entry in found:
                    told = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        if folder == self.workspace and entry.name == ".git":
                            continue  # `RepositoryFinder` looks at it, and git's list does not
                        waiting.append(entry.path)
                    changed = max(told.st_mtime_ns, told.st_ctime_ns)
                    newest = max(newest, changed)
                    entries.append(
                        (
                            entry.path,
                            told.st_ino,
                            told.st_mode,
                            told.st_size,
                            told.st_mtime_ns,
                            told.st_ctime_ns,
                        )
                    )
                    if len(entries) > MAX_ENTRIES:
                        self._is_large = True
                        return None
        return Seen(rules, tuple(sorted(entries, key=lambda one: str(one[0]))), newest)

    def _rules(self) -> tuple[object, ...] | None:
        """Return the state of the files that say what git ignores; None if they name others."""
        home = Path(os.environ.get("HOME") or "/")
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git"
        for path in (Path("/etc/gitconfig"), home / ".gitconfig", settings / "config"):
            if path.exists() and any(word in path.read_bytes().lower() for word in _ELSEWHERE):
                return None
        return stamp_of(settings / "ignore"), stamp_of(self.folder / "info/exclude")

    def _now_ns(self) -> int:
        """Return the time by the clock of the file system."""
        clock = self.folder / "now"
        clock.touch(mode=0o600)
        return clock.stat().st_mtime_ns
