"""Reports to followed sessions that something happened to their conversation outside of this server.

One task for the whole server looks, at most once a second, in one call on a thread. It looks at the times of the folders
in which the programs say what runs, and of the records of the followed sessions. If nothing has changed, it reads no
file. If no session is followed, it does not look at all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import attrs
import trio

from bridgehub.desk.records import Where

__all__ = ["ClaudeRegistry", "CodexRegistry", "DeskChanges", "Registry", "Watched"]

log = logging.getLogger("builderos.bridgehub")

TICK_S = 1.0
"""How often it looks."""

LIVE_TICK_S = 0.5
"""The same while a terminal has a followed session open: its words are journalled within a second."""

FIND_TICKS = 30
"""After so many looks a record is searched for again: a conversation may have got a new one."""

YOUNG_NS = 3_000_000_000
"""A lock's file that is so new may not be locked yet."""

Stamp = tuple[int, int]


class Registry(Protocol):
    """What a kind of program says of what runs. All methods block: use a thread."""

    def stamp(self) -> object:
        """Return what differs if it may say something else than before."""
        ...

    def live(self) -> dict[str, Where]:
        """Return by conversation which program of the person's has it open."""
        ...

    def still(self, known: Mapping[str, Where]) -> dict[str, Where]:
        """Return the same of those that had one open, while `stamp` says nothing new: a killed program leaves its mark."""
        ...

    def find(self, conversation: str, memory: Mapping[str, object]) -> tuple[str, str | None]:
        """Return the program's id of a session's conversation, and the path of its record."""
        ...


@attrs.define(eq=False)
class ClaudeRegistry:
    """The folder in which each running Claude Code has a file."""

    folder: Path
    live: Callable[[], dict[str, Where]]
    find: Callable[[str, Mapping[str, object]], tuple[str, str | None]]

    def stamp(self) -> object:
        """Implements `Registry`."""
        try:
            with os.scandir(self.folder) as entries:
                return sorted(
                    (one.name, one.stat().st_mtime_ns) for one in entries if one.name.endswith(".json")
                )
        except OSError:
            return None

    def still(self, known: Mapping[str, Where]) -> dict[str, Where]:
        """Implements `Registry`."""
        return self.live()


@attrs.define(eq=False)
class CodexRegistry:
    """The folder with a lock for each thread. `writer`: which program holds one.

    Codex makes a new file for each program that opens a thread, and removes it at an orderly end (seen). So the folder
    says that something changed, and the system's list of all locks, which costs it some milliseconds, is read only then.
    In case another version only locks a file that it finds, the list is read now and then too.
    """

    folder: Path
    live: Callable[[], dict[str, Where]]
    find: Callable[[str, Mapping[str, object]], tuple[str, str | None]]
    writer: Callable[[str], Where | None]
    _now_ms: Callable[[], int]
    _looks: int = 0

    def stamp(self) -> object:
        """Implements `Registry`."""
        try:
            changed = os.stat(self.folder).st_mtime_ns
        except OSError:
            return ()
        self._looks += 1
        is_young = abs(self._now_ms() * 1_000_000 - changed) < YOUNG_NS
        return None if is_young else (changed, self._looks // FIND_TICKS)

    def still(self, known: Mapping[str, Where]) -> dict[str, Where]:
        """Implements `Registry`."""
        found = ((one, self.writer(one)) for one in known)
        return {one: where for one, where in found if where is not None}


@attrs.define(eq=False)
class Watched:
    """One followed session.

    Attributes:
        is_moved: whether another program may have it open than before.
        is_grown: whether its record has changed.
        where: what has it open now.
    """

    agent: str
    conversation: Callable[[], str]
    memory: Callable[[], Mapping[str, object]]
    is_moved: bool = True
    is_grown: bool = True
    where: Where | None = None
    _place: tuple[str, str | None] = ("", None)
    _ticks: int = 0
    _stamp: Stamp | None = None
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def wait(self) -> None:
        """Wait until there is something to look at, or it is still unread at the next look."""
        await self._news.park()

    def look(self, registry: Registry, live: Mapping[str, Where]) -> None:
        """Note what changed. Blocks: use a thread."""
        if self._ticks % FIND_TICKS == 0 or self._place[1] is None:
            self._place = registry.find(self.conversation(), self.memory())
        self._ticks += 1
        native_id, path = self._place
        try:
            told = None if path is None else os.stat(path)
        except OSError:
            told, self._place = None, ("", None)
        stamp = None if told is None else (told.st_size, told.st_mtime_ns)
        where = live.get(native_id)
        self.is_grown |= stamp != self._stamp
        self.is_moved |= where != self.where
        self._stamp, self.where = stamp, where

    def wake(self) -> None:
        """Wake who waits, if there is something to look at."""
        if self.is_moved or self.is_grown:
            self._news.unpark_all()


@attrs.define(eq=False)
class DeskChanges:
    """Looks for all followed sessions. `run` it once."""

    registries: Mapping[str, Registry]
    limiter: trio.CapacityLimiter
    _watched: dict[Watched, None] = attrs.field(factory=dict)
    _known: dict[str, tuple[object, dict[str, Where]]] = attrs.field(factory=dict)
    _came: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    @contextmanager
    def watch(
        self, agent: str, conversation: Callable[[], str], memory: Callable[[], Mapping[str, object]]
    ) -> Iterator[Watched]:
        """Follow a session while inside the block."""
        watched = Watched(agent, conversation, memory)
        self._watched[watched] = None
        self._came.unpark_all()
        try:
            yield watched
        finally:
            del self._watched[watched]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            while not self._watched:
                await self._came.park()
            watched = tuple(self._watched)
            is_live = False
            try:
                is_live = await trio.to_thread.run_sync(self._look, watched, limiter=self.limiter)
            except Exception:
                log.exception("desk: could not look for changes")
            for one in watched:
                one.wake()
            await trio.sleep(LIVE_TICK_S if is_live else TICK_S)

    def _look(self, watched: Sequence[Watched]) -> bool:
        """Look at all of them. Return whether a terminal has one of them open."""
        is_live = False
        for name in {one.agent for one in watched}:
            registry = self.registries[name]
            stamp = registry.stamp()
            known = self._known.get(name)
            if known is None or stamp is None or known[0] != stamp:
                known = self._known[name] = (stamp, registry.live())
            elif known[1]:
                known = self._known[name] = (stamp, registry.still(known[1]))
            for one in watched:
                if one.agent == name:
                    one.look(registry, known[1])
                    is_live |= one.where is not None
        return is_live
