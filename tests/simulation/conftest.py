"""Looks for garbage seldom: the histories of a test leave little, and each search takes as long as some of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

YOUNG = 50_000
"""Objects before the youngest are looked through: those of about fifty histories, some ten megabytes."""


@pytest.fixture(autouse=True, scope="module")
def _seldom_collected() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(YOUNG, *before[1:])
    yield
    gc.set_threshold(*before)
