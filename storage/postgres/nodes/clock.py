"""This machine's clock, held against the database's.

Leases and the age of mail are judged by the database's clock alone. The times in a journal are of the session's home, and a
list is sorted by them: a clock that is off puts its sessions into the wrong place, and ends codes and links too early.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import attrs

from storage.errors import ClockOff
from storage.postgres.connection import Connection
from storage.postgres.opening import value_of

__all__ = ["ClockCheck", "refuse_wrong_clock"]

WARNED_S: Final = 2.0
"""A clock that is further off is logged."""

REFUSED_S: Final = 5.0
"""A node whose clock is further off does not start."""

_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"

_log = logging.getLogger("builderos.storage")


def refuse_wrong_clock(connection: Connection, name: str, now_ms: Callable[[], int]) -> None:
    """Raise ClockOff if this machine's clock is far from the database's. Blocks. `name`: of the database."""
    off_s = _off_s(connection, now_ms)
    if abs(off_s) > REFUSED_S:
        raise ClockOff(f"{name}: {_told(off_s)}; set the clocks, by NTP for example, and start again")


@attrs.define(eq=False)
class ClockCheck:
    """Logs once that the clock is off, and once that it is right again."""

    now_ms: Callable[[], int]
    is_off: bool = attrs.field(default=False, init=False)

    def look(self, connection: Connection) -> None:
        """Compare the clocks. Blocks."""
        off_s = _off_s(connection, self.now_ms)
        if (abs(off_s) > WARNED_S) == self.is_off:
            return
        self.is_off = not self.is_off
        if self.is_off:
            _log.warning("clock: %s; set the clocks, by NTP for example", _told(off_s))
        else:
            _log.info("clock: it agrees with the database's again")


def _off_s(connection: Connection, now_ms: Callable[[], int]) -> float:
    """Return how far this machine's clock is ahead, at least: the answer was under way for a while."""
    before = now_ms() / 1000
    theirs = float(value_of(connection, _NOW))
    after = now_ms() / 1000
    return before - theirs if before > theirs else min(after - theirs, 0.0)


def _told(off_s: float) -> str:
    return (
        f"this machine's clock is {abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the database's"
    )
