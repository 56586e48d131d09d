"""Bugs that are planted on purpose are found, each within so many seeds: what finds nothing proves nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.bugs import BUGS, plant
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.reporting import first_wrong

WITHIN = 1500
"""Seeds that may be needed, of those whose plan has what the bug needs: ten times as many as the rarest takes on
average, since every change of the product gives each seed another course. Most are found within thirty."""

_CUTS = {"cut_link", "stall_link", "refuse_links", "kill_server", "second_server"}
_ASKS = {"ask", "grant"}
NEEDS: dict[str, tuple[set[str], ...]] = {
    "acknowledged_early": ({"append_fails", "append_unknown_before", "storage_down", "kill_server"},),
    "requests_left_open": (_ASKS, {"interrupt", "interrupt_this", "kill_hub", "stop_all"}),
    "decisions_forgotten": (_ASKS, _CUTS, {"kill_server", "stop_server", "second_server", "append_fails"}),
    "stale_owner_hands_over": ({"second_server"},),
    "stale_owner_takes_back": ({"second_server"}, {"append_fails", "storage_down", "append_unknown_before"}),
}
"""Words of faults, acts and scripts; of each group a plan has one, or the bug cannot show."""


def _words(plan: Plan) -> set[str]:
    does = {what for message in plan.messages for what, _ in message.script}
    return does | {fault.kind for fault in plan.faults} | {act.kind for act in plan.acts}


def _seeds(name: str) -> Iterator[int]:
    """Yield the seeds of plans that have what a bug needs."""
    found = 0
    for seed in range(WITHIN * 30):
        words = _words(draw_plan(seed))
        if all(words & group for group in NEEDS.get(name, ())):
            yield seed
            found += 1
        if found == WITHIN:
            return


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    with plant(name):
        wrong = first_wrong(_seeds(name))
    assert wrong is not None
    assert first_wrong([wrong.plan.seed]) is None, "it is the bug that is found"
