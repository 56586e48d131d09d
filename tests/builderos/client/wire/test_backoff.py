"""Waits before the next attempt to connect."""

from __future__ import annotations

import random

from builderos.client.wire.backoff import FIRST_S, LAST_S, Backoff


def test_waits_grow_and_differ() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.next_s() for _ in range(10)]
    assert all(FIRST_S / 2 <= wait <= LAST_S for wait in waits)
    assert waits[-1] >= LAST_S / 2
    backoff.reset()
    assert backoff.next_s() <= FIRST_S
