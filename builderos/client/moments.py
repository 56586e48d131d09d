"""Moments as a person types and reads them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["FORMS", "clock_time", "moment_of", "past_ms", "wire_moment"]

FORMS: Final = "13:11, +30m, +2h, +1d or 2026-12-01T09:00"
"""What a person may type, for messages."""

_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DISTANCE: Final = re.compile(r"\+([0-9]{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGES_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment_of(typed: str, now: datetime) -> datetime | None:
    """Return the moment that a person means; None if it is none.

    Args:
        typed: the next time that a clock shows this, a distance from now, or a date with a time.
        now: the time, with its zone; what is typed without a zone is of the same.
    """
    if found := _CLOCK.fullmatch(typed):
        at = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        return at if at > now else at + timedelta(days=1)
    if found := _DISTANCE.fullmatch(typed):
        try:
            return now + timedelta(**{_UNITS[found[2]]: int(found[1])})
        except OverflowError:
            return None
    try:
        at = datetime.fromisoformat(typed)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=now.tzinfo)


def past_ms(text: str, now_ms: int) -> int | None:
    """Return the moment that a text names; None if it is not a time.

    The text is ISO 8601, in local time if it has no zone, or an age: `30m`, `24h`, `7d`.
    """
    number, unit = text[:-1], text[-1:]
    if unit in _AGES_MS and number.isascii() and number.isdigit() and len(number) <= 6:
        return now_ms - int(number) * _AGES_MS[unit]
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def wire_moment(at: datetime) -> str:
    """Return a moment in the protocol's form."""
    text = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def clock_time(moment: str) -> str:
    """Return a moment of the protocol as this machine's clock shows it; empty if it is none."""
    try:
        at = datetime.fromisoformat(moment).astimezone()
    except (ValueError, OverflowError):
        return ""
    return at.strftime("%Y-%m-%d %H:%M")
