"""Searches the names of a workspace's files while a person types.

The first search in a workspace makes an index. While searches continue, it is made again every few seconds, so that new
files are found soon; it is dropped a minute after the last search. It holds git's own list if there is a repository,
else the result of a walk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import attrs
import trio

from bridgehub.workspace.git import GitFailed, GitMissing, run_git
from bridgehub.workspace.paths import shown
from transport.workspace.matching import Candidate, Names, best

__all__ = ["FileSearch", "list_paths"]

MAX_PATHS: Final = 300_000
"""Paths of one workspace; further ones are not found."""

MAX_IGNORED: Final = 20_000
MAX_INDEXES: Final = 8
"""Workspaces with an index at once; beyond that the one with the oldest search is dropped."""

FRESH_S: Final = 1.0
"""An index younger than this is used as it is."""

AGAIN_S: Final = 3.0
"""How often the index is made again while it is in use."""

FOLLOWED_S: Final = 60.0
PATIENCE_S: Final = 0.08
"""How long a search waits for a newer index if there is an older one. If the last one took longer, it does not wait."""

LIST_S: Final = 10.0
"""How long git may take to list the files."""


@attrs.define(eq=False)
class _Index:
    root: str
    names: Names | None = None
    made_at: float = 0.0
    took_s: float = 0.0
    asked_at: float = 0.0
    made: trio.Event = attrs.field(factory=trio.Event)
    wanted: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class FileSearch:
    """The search over all workspaces. The caller must run `run`."""

    _indexes: dict[str, _Index] = attrs.field(factory=dict)
    _new: trio.Event = attrs.field(factory=trio.Event)
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(2))

    async def find(self, root: str, query: str, most: int) -> list[Candidate]:
        """Return the best matching paths below `root`. Waits for the first index of a workspace."""
        index = self._indexes.pop(root, None) or _Index(root)
        self._indexes[root] = index  # the newest last
        index.asked_at = trio.current_time()
        if len(self._indexes) > MAX_INDEXES:
            del self._indexes[next(iter(self._indexes))]
        if index.names is None or trio.current_time() - index.made_at > FRESH_S:
            index.wanted.set()
            self._new.set()
            made = index.made
            if index.names is None or index.took_s <= PATIENCE_S:
                with trio.move_on_after(LIST_S + 5 if index.names is None else PATIENCE_S):
                    await made.wait()
        if index.names is None:
            return []
        return await trio.to_thread.run_sync(best, index.names, query, most, limiter=self._limiter)

    async def run(self) -> None:
        """Make indexes until cancelled."""
        async with trio.open_nursery() as nursery:
            running: set[str] = set()
            while True:
                self._new = trio.Event()
                for root in [one for one in self._indexes if one not in running]:
                    running.add(root)
                    nursery.start_soon(self._follow, root, running)
                await self._new.wait()

    async def _follow(self, root: str, running: set[str]) -> None:
        """Make the index of one workspace again and again until its searches end."""
        try:
            while (index := self._indexes.get(root)) is not None:
                if trio.current_time() - index.asked_at > FOLLOWED_S:
                    del self._indexes[root]
                    return
                index.wanted = trio.Event()
                started = trio.current_time()
                index.names = await trio.to_thread.run_sync(list_paths, root, limiter=self._limiter)
                index.made_at = started
                index.took_s = trio.current_time() - started
                index.made.set()
                index.made = trio.Event()
                # A workspace that is slow to list is listed less often.
                pause = max(AGAIN_S, 5 * index.took_s)
                with trio.move_on_after(pause):
                    await index.wanted.wait()
        finally:
            running.discard(root)
            self._new.set()


def list_paths(root: str) -> Names:
    """Return the paths below `root`. Blocks; an unreadable folder has none."""
    try:
        known = _git_list(root, "--cached", "--others")
        ignored = _git_list(root, "--others", "--ignored")
    except (GitFailed, GitMissing):
        return Names.of(map(Candidate, _walk(root)))
    listed = map(Candidate, known[:MAX_PATHS])
    return Names.of([*listed, *(Candidate(path, ignored=True) for path in ignored[:MAX_IGNORED])])


def _git_list(root: str, *which: str) -> list[str]:
    done = run_git("ls-files", "-z", "--deduplicate", "--exclude-standard", *which, cwd=root, limit_s=LIST_S)
    text = done.output.decode("utf-8", "replace")
    return [path for path in dict.fromkeys(text.split("\0")) if path and not path.endswith("/")]


def _walk(root: str) -> Iterator[str]:
    """Yield the files of a walk, the upper folders first; `.git` is left out and no link followed."""
    waiting, found = [""], 0
    while waiting:
        folders: list[str] = []
        for folder in waiting:
            try:
                with os.scandir(os.path.join(root, folder)) as scanned:
                    entries = list(scanned)
            except OSError:
                continue
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != ".git":
                        folders.append(path)
                    continue
                found += 1
                if found > MAX_PATHS:
                    return
                yield shown(path)
        waiting = folders
