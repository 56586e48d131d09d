"""A folder of real hub processes for tests, none of which outlives its test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.hubs.link import SocketHubLink
from actors.hubs.processes import ProcessHubs
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.process_tree import is_alive, start_mark
from tests.bridgehub.hub_harness import Reader, make_spec, until

__all__ = [
    "HUB",
    "ROOT",
    "environment_of",
    "lives",
    "on_linux",
    "open_hubs",
    "open_reader",
    "pss_kib",
    "spec_of",
    "start_program",
    "until_dead",
]

HUB = f"hub-{os.getpid()}"
"""Unlike any other on the machine: reaping a hub kills every process that carries its id."""

ROOT = Path(__file__).resolve().parent.parent.parent
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


_LINKS: list[SocketHubLink] = []


@asynccontextmanager
async def open_hubs(folder: Path, *, by_exec: bool | None = None) -> AsyncIterator[ProcessHubs]:
    """Hubs of a folder of their own; none of them outlives the block."""
    hubs = ProcessHubs(folder / "hubs", folder / "short")
    if by_exec is not None:
        hubs = ProcessHubs(folder / "hubs", folder / "short", by_exec)
    try:
        with trio.fail_after(60):
            yield hubs
    finally:
        with trio.CancelScope(shield=True):
            while _LINKS:
                await _LINKS.pop().aclose()
            await hubs.stop([hub.hub_id for hub in await hubs.living()])
            await hubs.aclose()


async def open_reader(hubs: ProcessHubs, hub_id: str = HUB, last_seq: int = 0, epoch: int = 1) -> Reader:
    link = await hubs.connect(hub_id, owner_epoch=epoch, last_seq=last_seq)
    _LINKS.append(link)
    return Reader(link, last_seq)


def spec_of(hub_id: str = HUB, **changes: object) -> HubSpec:
    return make_spec(Path("/nowhere"), hub_id, **changes)


def lives(pid: int) -> bool:
    mark = start_mark(pid)
    return mark is not None and is_alive(pid, mark)


def start_program(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a Python program from the checkout, with something in its environment that no agent may see."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "BUILDEROS_HUB": HUB, "SECRET": "of the server"},
    )


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def until_dead(*pids: int) -> None:
    await until(lambda: not any(map(lives, pids)))


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss")
