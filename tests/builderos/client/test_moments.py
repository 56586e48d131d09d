"""What a person may type as a time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from builderos.client.moments import moment_of, wire_moment

NOW = datetime(2026, 11, 30, 12, 30, 15, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("13:11", "2026-11-30T12:11:00.000Z"),
        ("9:00", "2026-12-01T08:00:00.000Z"),
        ("12:30", "2026-12-01T11:30:00.000Z"),
        ("+30m", "2026-11-30T12:00:15.000Z"),
        ("+1d", "2026-12-01T11:30:15.000Z"),
        ("2026-12-01T09:00", "2026-12-01T08:00:00.000Z"),
        ("2026-12-01T09:00Z", "2026-12-01T09:00:00.000Z"),
    ],
)
def test_a_time_is_understood(typed: str, moment: str) -> None:
    at = moment_of(typed, NOW)
    assert at is not None
    assert wire_moment(at) == moment


@pytest.mark.parametrize(
    "typed", ["", "24:00", "1:5", "soon", "+5", "+999999d99", "+-1m", "13:11:99", "+999999999d"]
)
def test_what_is_no_time_is_told_apart(typed: str) -> None:
    assert moment_of(typed, NOW) is None
