"""How many sessions speak at once, and when each of their pieces leaves. Pure; the same for both chains."""

from __future__ import annotations

import attrs

__all__ = ["Pace", "paces"]

_LEAST_MS = 31
_SPREAD_MS = 20
_STEP = 7
"""Without a common divisor with the spread, so that neighbours differ and all periods are as frequent."""

_GOLDEN = 0.618034


@attrs.frozen
class Pace:
    """One session's pieces: the first after `offset_ms`, then one each `period_ms`, `count` in all."""

    offset_ms: float
    period_ms: int
    count: int


def paces(sessions: int, seconds: float) -> list[Pace]:
    """Return the paces of that many sessions: a piece each 31 to 50 ms, for `seconds`, no two in step."""
    found = []
    for number in range(sessions):
        period = _LEAST_MS + number * _STEP % _SPREAD_MS
        found.append(Pace(number * _GOLDEN % 1 * period, period, round(seconds * 1000 / period)))
    return found
