"""Nothing of a hub survives its kill, and nobody else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridgehub import orphans
from bridgehub.orphans import reap_orphans, zombie_children
from bridgehub.protocol import process_tree
from bridgehub.protocol.process_tree import (
    MARKER,
    is_alive,
    kill_tree,
    marked_hubs,
    start_mark,
    terminate,
)
from tests.bridgehub.hub_harness import until
from tests.bridgehub.unruly_agent import CHILD

LOST = f"lost-{os.getpid()}"
OTHER = f"other-{os.getpid()}"


@contextmanager
def unruly_family(hub_id: str | None, manner: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A child and its grandchild, which has a session of its own and ignores SIGTERM."""
    env = {"PATH": os.environ["PATH"]} | ({MARKER: hub_id} if hub_id is not None else {})
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", CHILD, manner], stdout=subprocess.PIPE, start_new_session=True, env=env
    )
    assert child.stdout is not None
    grandchild = int(child.stdout.readline().split()[1])
    mark = start_mark(grandchild)
    try:
        yield child, grandchild
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        if start_mark(grandchild) == mark:
            with suppress(ProcessLookupError):
                os.kill(grandchild, signal.SIGKILL)


def start_unwatched() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["true"])


def lives(pid: int) -> bool:
    mark = start_mark(pid)
    return mark is not None and is_alive(pid, mark)


def test_descendants_go_with_their_leader() -> None:
    with unruly_family(None, "stay") as (child, grandchild):
        mark = start_mark(child.pid)
        assert mark is not None
        assert kill_tree("some-hub", child.pid, mark) == 2
        assert not lives(child.pid)
        assert not lives(grandchild)


def test_orphans_are_found_by_their_marker() -> None:
    with unruly_family(LOST, "leave") as (child, grandchild):
        child.wait()
        assert lives(grandchild)
        assert LOST in marked_hubs()
        assert kill_tree(LOST) == 1
        assert not lives(grandchild)
        assert kill_tree(LOST) == 0


def test_a_stranger_with_the_old_pid_is_left_alone() -> None:
    with unruly_family(OTHER, "stay") as (child, grandchild):
        assert kill_tree("dead-hub", child.pid, "boot:1") == 0
        assert not terminate(child.pid, "boot:1")
        assert lives(child.pid)
        assert lives(grandchild)


def test_start_marks_tell_processes_apart() -> None:
    own = start_mark(os.getpid())
    assert own == start_mark(os.getpid())
    assert own is not None
    assert own != start_mark(1)
    assert is_alive(os.getpid(), own)
    with subprocess.Popen(["true"]) as child:
        pass
    assert start_mark(child.pid) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has child subreapers")
async def test_only_what_nobody_waits_for_is_reaped() -> None:
    died = trio.lowlevel.ParkingLot()
    orphan = start_unwatched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reap_orphans, died, 0.1)
        with trio.fail_after(20):
            await until(lambda: orphan.pid in zombie_children(os.getpid()))
            died.unpark_all()
            result = await trio.run_process(["sh", "-c", "exit 3"], check=False)
            assert result.returncode == 3
            await until(lambda: orphan.pid not in zombie_children(os.getpid()))
        nursery.cancel_scope.cancel()
    orphan.returncode = 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has child subreapers")
async def test_a_reaped_child_costs_no_list_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    find_zombies = zombie_children
    for pid in find_zombies(os.getpid()):  # of tests before this one
        orphans._reap(pid)

    def look(parent: int) -> set[int]:
        looks.append(parent)
        return set()

    monkeypatch.setattr(orphans, "zombie_children", look)
    died = trio.lowlevel.ParkingLot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reap_orphans, died, 0)
        with trio.fail_after(20):
            for _ in range(3):
                await trio.run_process(["true"])
                died.unpark_all()
                await wait_all_tasks_blocked()
            assert not looks
            orphan = start_unwatched()
            await until(lambda: orphan.pid in find_zombies(os.getpid()))
            died.unpark_all()
            await until(lambda: bool(looks))
        nursery.cancel_scope.cancel()
    assert orphan.wait() == 0


def test_who_is_born_while_the_processes_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent was on the list, and had ended when its turn to be looked at came."""
    real = psutil.pids
    born: list[subprocess.Popen[bytes]] = []

    def pids() -> list[int]:
        listed: list[int] = real()
        if not born:
            env = {"PATH": os.environ["PATH"], MARKER: LOST}
            born.append(subprocess.Popen(["sleep", "600"], start_new_session=True, env=env))
        return listed

    monkeypatch.setattr("psutil.pids", pids)
    try:
        assert kill_tree(LOST) == 1
    finally:
        born[0].kill()
    assert born[0].wait() == -signal.SIGKILL


def test_who_is_in_the_middle_of_an_exec(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows no environment at first."""
    with unruly_family(LOST, "stay") as (child, grandchild):
        looks: list[int] = []
        carries = process_tree._carries

        def look(pid: int, variable: str, value: str) -> bool | None:
            looks.append(pid)
            young = pid in (child.pid, grandchild) and looks.count(pid) == 1
            return None if young else carries(pid, variable, value)

        monkeypatch.setattr(process_tree, "_carries", look)
        assert kill_tree(LOST) == 2
        assert not lives(grandchild)


def test_a_stranger_who_got_the_id_of_one_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The marked process ended in the middle of the look, and the stranger who has its id is in an exec."""
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True, env={"PATH": os.environ["PATH"]})
    looks: list[int] = []
    carries = process_tree._carries

    def look(pid: int, variable: str, value: str) -> bool | None:
        looks.append(pid)
        first = looks.count(pid) == 1
        if pid != stranger.pid or looks.count(pid) > 2:
            return carries(pid, variable, value)
        return True if first else None

    monkeypatch.setattr(process_tree, "_carries", look)
    try:
        assert kill_tree(LOST) == 0
        assert stranger.poll() is None
        assert looks.count(stranger.pid) > 2, "it was looked at again"
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_without_an_environment_is_passed_over() -> None:
    bare = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True, env={})
    try:
        assert kill_tree(LOST) == 0
        assert bare.poll() is None
    finally:
        bare.kill()
        bare.wait()
