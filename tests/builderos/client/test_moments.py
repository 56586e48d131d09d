"""What a person may type as a time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from builderos.client.moments import clock_time, moment_of, past_ms, wire_moment

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


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("30m", 100_000_000 - 1_800_000),
        ("24h", 100_000_000 - 86_400_000),
        ("1d", 100_000_000 - 86_400_000),
        ("1970-01-02T00:00:00Z", 86_400_000),
        ("1970-01-02T01:00:00+01:00", 86_400_000),
        ("", None),
        ("d", None),
        ("-1d", None),
        ("x", None),
        ("9999999999d", None),
    ],
)
def test_a_time_in_the_past_is_understood(text: str, means: int | None) -> None:
    assert past_ms(text, 100_000_000) == means


def test_a_moment_of_no_time_is_shown_as_nothing() -> None:
    assert clock_time("soon") == ""
