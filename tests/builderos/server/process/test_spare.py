"""A program is started before a message only if the machine can spare power and memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from builderos.server.process.spare import FREE_BYTES, can_spare


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
