"""Keeps the collector of garbage from what the simulation cannot free: modules, and what other tests left."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

YOUNG = 50_000
"""Objects before the youngest are looked through: those of about fifty histories, some ten megabytes."""


@pytest.fixture(autouse=True, scope="module")
def _little_collected() -> Iterator[None]:
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *before[1:])
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
