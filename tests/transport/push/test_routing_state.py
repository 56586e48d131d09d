"""The ladder: each row of its table, and histories at random."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.tables.notifications.alerts import Alert
from transport.push.routing_state import (
    ALL,
    DONE,
    GRACE,
    ONE,
    WATCHED,
    WATCHED_MS,
    ChannelPlace,
    Next,
    World,
    route,
)

PHONE, MAC = ChannelPlace("p", "phone"), ChannelPlace("m", "mac")
VIEWER, NTFY = ChannelPlace("v", "viewer", "no_right"), ChannelPlace("n", "ntfy", None, is_fallback=True)
PLACES = (PHONE, MAC, VIEWER, NTFY)


def alert(kind: str = "decision", step: int = GRACE, author: str | None = None) -> Alert:
    return Alert("a", "trip", 5, kind, "r1", author, 0, step, 0, None, None, None)


def told(after: Next) -> dict[str, str | None]:
    return {one.channel_id: one.reason for one in after.told}


def world(**more: Any) -> World:
    return World(**{"now_ms": 1_000, "places": PLACES, "active": ("phone",), **more})


ALL_BUT_VIEWER = {"v": "no_right"}


@pytest.mark.parametrize(
    ("before", "more", "after"),
    [
        # Quiet hours: nothing moves, and each channel has the reason.
        (
            alert(),
            {"quiet_until_ms": 9},
            (GRACE, 9, {"p": "quiet_hours", "m": "quiet_hours", "n": "quiet_hours"}),
        ),
        (alert(step=ONE), {"quiet_until_ms": 9}, (ONE, 9, {})),
        # Somebody watches.
        (
            alert(),
            {"watched": True},
            (WATCHED, 1_000 + WATCHED_MS, {"p": "watching", "m": "watching", "n": "watching"}),
        ),
        # The watcher left, or did nothing.
        (alert(step=WATCHED), {}, (ONE, 121_000, {"p": None, "m": "not_its_turn", "n": "not_its_turn"})),
        (
            alert(step=WATCHED),
            {"watched": True},
            (ONE, 121_000, {"p": None, "m": "not_its_turn", "n": "not_its_turn"}),
        ),
        # Nobody watches: the device that was active last; for a turn's end that of the author.
        (alert(), {}, (ONE, 121_000, {"p": None, "m": "not_its_turn", "n": "not_its_turn"})),
        (alert(author="mac"), {}, (ONE, 121_000, {"p": None, "m": "not_its_turn", "n": "not_its_turn"})),
        (
            alert("failed", author="mac"),
            {},
            (ONE, 121_000, {"p": "not_its_turn", "m": None, "n": "not_its_turn"}),
        ),
        (
            alert("finished", author="mac"),
            {},
            (DONE, None, {"p": "not_its_turn", "m": None, "n": "not_its_turn"}),
        ),
        (
            alert("finished", author="tv"),
            {},
            (DONE, None, {"p": None, "m": "not_its_turn", "n": "not_its_turn"}),
        ),
        # Nobody knows who: all.
        (alert(), {"active": ("tv",)}, (ALL, 301_000, {"p": None, "m": None, "n": "not_its_turn"})),
        (alert("finished"), {"active": ()}, (DONE, None, {"p": None, "m": None, "n": "not_its_turn"})),
        # Nobody did anything.
        (alert(step=ONE), {}, (ALL, 301_000, {"p": None, "m": None, "n": "not_its_turn"})),
        (alert(step=ONE), {"places": (PHONE, VIEWER)}, (DONE, None, {"p": None})),
        (alert(step=ALL), {}, (DONE, None, {"n": None})),
    ],
)
def test_a_row(
    before: Alert, more: dict[str, Any], after: tuple[int, int | None, dict[str, str | None]]
) -> None:
    found = route(before, world(**more))
    step, due, wanted = after
    refused = ALL_BUT_VIEWER if wanted and before.step != ALL else {}
    assert (found.step, found.due_at_ms, told(found), found.settle) == (
        step,
        due,
        {**wanted, **refused},
        None,
    )


@pytest.mark.parametrize(
    ("kind", "more", "how"),
    [
        ("finished", {"watched": True}, "seen"),
        ("failed", {"watched": True, "quiet_until_ms": 9}, "seen"),
        ("background", {"runs": True}, "continued"),
        ("finished", {"runs": True}, "continued"),
    ],
)
def test_what_settles_it(kind: str, more: dict[str, Any], how: str) -> None:
    assert route(alert(kind), world(**more)).settle == how


def test_a_failed_turn_is_told_although_the_next_one_runs() -> None:
    assert route(alert("failed"), world(runs=True)).step == ONE


worlds = st.builds(
    World,
    now_ms=st.integers(0, 10**6),
    places=st.lists(
        st.builds(
            ChannelPlace,
            channel_id=st.text("abcd", min_size=1, max_size=3),
            label=st.sampled_from(["phone", "mac", "ipad"]),
            refusal=st.sampled_from([None, "not_wanted", "gone"]),
            is_fallback=st.booleans(),
        ),
        max_size=5,
        unique_by=lambda place: place.channel_id,
    ),
    watched=st.booleans(),
    runs=st.booleans(),
    active=st.lists(st.sampled_from(["phone", "mac", "tv"]), unique=True),
    quiet_until_ms=st.one_of(st.none(), st.just(2 * 10**6)),
)
kinds = st.sampled_from(["decision", "finished", "failed", "unknown", "background", "late"])


@given(kinds, st.lists(worlds, min_size=10, max_size=16))
def test_a_ladder_ends(kind: str, moments: list[World]) -> None:
    """Only channels that may be notified are; steps only rise; without quiet hours each ladder ends."""
    now, planned = alert(kind), set[str]()
    for moment in moments:
        after = route(now, moment)
        if after.settle is not None:
            assert kind in ("finished", "failed", "background")
            return
        able = {place.channel_id for place in moment.places if place.refusal is None}
        new = {one.channel_id for one in after.told if one.reason is None}
        assert new <= able
        assert after.step >= now.step
        assert {one.channel_id for one in after.told} <= {place.channel_id for place in moment.places}
        if moment.quiet_until_ms is not None:
            assert not new
            assert after.step == now.step
        planned |= new
        if after.due_at_ms is None:
            assert after.step == DONE
            return
        assert after.due_at_ms > moment.now_ms or moment.quiet_until_ms is not None
        now = attrs.evolve(now, step=after.step, due_at_ms=after.due_at_ms)
    quiet = sum(moment.quiet_until_ms is not None for moment in moments)
    assert len(moments) - quiet < 5, "five moments lead through every ladder"
