"""A server keeps as many open files for itself as it needs, however few it may have. A program is started before a message
only if the machine can spare power and memory.
"""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from builderos.server.process.resources import FREE_BYTES, LEAST_RESERVE, can_spare, connections_for
from transport.config import TransportConfig


@pytest.mark.parametrize("open_files", [64, 160, 256, 1024, 4096, 10_240, 1 << 20])
def test_connections_leave_a_reserve(open_files: int) -> None:
    connections = connections_for(10_000, open_files)
    places = TransportConfig(max_connections=connections).places
    assert 1 <= connections <= 10_000
    assert connections + places <= max(2, open_files - LEAST_RESERVE)


def test_the_config_counts_if_there_is_room() -> None:
    assert connections_for(10_000, 1 << 20) == 10_000
    assert connections_for(10_000, resource.RLIM_INFINITY) == 10_000
    assert connections_for(50, 1024) == 50
    assert connections_for(10_000, 1024) < 1024 * 3 // 4


def machine(monkeypatch: pytest.MonkeyPatch, *, free: int, battery: Any) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)


@pytest.mark.parametrize(
    ("free", "battery", "spares"),
    [
        (FREE_BYTES, None, True),
        (FREE_BYTES - 1, None, False),
        (FREE_BYTES, SimpleNamespace(power_plugged=True), True),
        (FREE_BYTES, SimpleNamespace(power_plugged=False), False),
        (FREE_BYTES, SimpleNamespace(power_plugged=None), True),
    ],
)
async def test_power_and_memory_decide(
    monkeypatch: pytest.MonkeyPatch, free: int, battery: Any, *, spares: bool
) -> None:
    machine(monkeypatch, free=free, battery=battery)
    assert await can_spare() is spares


async def test_a_machine_that_does_not_say_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    assert await can_spare()


_FREES = """
from bench.processes import proportional_kib
from builderos.server.process.resources import give_back_memory
import os, trio
kept = [bytes(4000) for _ in range(8000)]
top = bytes(4000)
del kept
before = proportional_kib(os.getpid())
print(trio.run(give_back_memory), before - proportional_kib(os.getpid()))
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc keeps what lies below the last piece"
)
def test_what_was_freed_goes_back() -> None:
    found = subprocess.run([sys.executable, "-c", _FREES], capture_output=True, text=True, check=True)
    told, given_kib = found.stdout.split()
    assert told == "True"
    assert float(given_kib) > 16_000, "of the 32,000 that were freed"
