"""Followed sessions hear of changes outside; where nothing is used, nothing is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs
import trio

from bridgehub.desk.live.changes import (
    FIND_TICKS,
    YOUNG_NS,
    ClaudeRegistry,
    CodexRegistry,
    DeskChanges,
    Watched,
)
from bridgehub.desk.records import Where

TERMINAL = Where("claude", 7, "idle", 1, "2")


@attrs.define(eq=False)
class World:
    """A registry and one record, and how often each was looked at."""

    folder: Path
    live: dict[str, Where] = attrs.field(factory=dict)
    reads: int = 0
    searches: int = 0

    def read(self) -> dict[str, Where]:
        self.reads += 1
        return self.live

    def find(self, conversation: str, memory: Mapping[str, object]) -> tuple[str, str | None]:
        self.searches += 1
        return conversation, str(self.folder / "record")

    def changes(self) -> DeskChanges:
        registry = ClaudeRegistry(self.folder / "sessions", self.read, self.find)
        return DeskChanges({"claude": registry}, trio.CapacityLimiter(1))


def made(folder: Path) -> World:
    (folder / "sessions").mkdir()
    (folder / "record").write_text("one")
    return World(folder)


def looked(changes: DeskChanges, watched: Watched) -> tuple[bool, bool]:
    watched.is_moved = watched.is_grown = False
    changes._look([watched])
    return watched.is_moved, watched.is_grown


def test_a_session_hears_only_of_what_changed(tmp_path: Path) -> None:
    world = made(tmp_path)
    changes = world.changes()
    with changes.watch("claude", lambda: "native", dict) as watched:
        changes._look([watched])
        for _ in range(20):
            assert looked(changes, watched) == (False, False)
        assert (world.reads, world.searches) == (1, 1), "nothing was used, and nothing was read"
        (tmp_path / "record").write_text("two words")
        assert looked(changes, watched) == (False, True)
        world.live = {"native": TERMINAL}
        (tmp_path / "sessions" / "7.json").write_text("{}")
        assert looked(changes, watched) == (True, False)
        assert watched.where == TERMINAL
        assert looked(changes, watched) == (False, False)
        world.live = {}  # it was killed, and its mark stays
        assert looked(changes, watched) == (True, False)
        (tmp_path / "record").unlink()
        assert looked(changes, watched) == (False, True)


def test_locks_of_codex_are_looked_up_after_a_change_only(tmp_path: Path) -> None:
    world, locks = made(tmp_path), tmp_path / "locks"
    held: dict[str, Where] = {}
    now = [0]
    registry = CodexRegistry(locks, world.read, world.find, held.get, lambda: now[0])
    changes = DeskChanges({"codex": registry}, trio.CapacityLimiter(1))

    def reads_of(looks: int) -> int:
        world.reads = 0
        for _ in range(looks):
            changes._look([watched])
        return world.reads

    def where() -> Where | None:
        return watched.where

    with changes.watch("codex", lambda: "native", dict) as watched:
        assert reads_of(20) == 1, "there is no folder"
        locks.mkdir()
        (locks / "native.lock").touch()
        now[0] = os.stat(locks).st_mtime_ns // 1_000_000
        assert reads_of(3) == 3, "it may not be locked yet"
        world.live, held["native"] = {"native": TERMINAL}, TERMINAL
        assert reads_of(1) == 1
        assert where() == TERMINAL
        now[0] += 2 * YOUNG_NS // 1_000_000
        assert reads_of(15) == 1
        assert where() == TERMINAL
        world.live = {}
        held.clear()  # it was killed, and its lock's file stays
        assert reads_of(1) == 0
        assert where() is None
        world.live, held["native"] = (
            {"native": TERMINAL},
            TERMINAL,
        )  # by a version that uses the file it finds
        assert reads_of(FIND_TICKS) == 1
        assert where() == TERMINAL
