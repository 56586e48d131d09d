"""Bugs that are planted on purpose are found, each within so many plans: what finds nothing proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, get_args

import attrs
import pytest

from tests.simulation.bugs import BUGS, plant
from tests.simulation.history import run_history
from tests.simulation.plan import Fault, FaultKind, Plan, draw_act, draw_fault, draw_plan, with_one_clock

WITHIN = 3000
"""Plans that may be needed: ten times as many as the rarest takes on average, since every change of the product gives
each seed another course. Most are found within thirty."""

_RESTARTS = {"kill_server", "stop_server", "stop_all", "second_server"}
_ASKS = {"ask", "grant"}
_LATER = {"a message for later"}
_ANSWERS = {"an answer with a mode"}
NEEDS: dict[str, tuple[set[str], ...]] = {
    "acknowledged_early": ({"append_fails", "append_unknown_before", "storage_down", "kill_server"},),
    "requests_left_open": (_ASKS, {"interrupt", "interrupt_this"}),
    "decisions_forgotten": (_ASKS,),
    "stale_owner_hands_over": ({"second_server"},),
    "time_forgotten": (_LATER, _RESTARTS),
    "late_is_sent": (_LATER, {"clock_jump"}),
    "kept_is_sent": (_LATER, {"clock_jump", "power_cut"}),
    "clock_seldom_seen": (_LATER,),
    "mode_of_an_answer_lost": (_ASKS, _ANSWERS),
    "modes_leave_requests_open": (_ASKS, {"set_mode"}),
    "settings_forgotten": ({"set_mode", "configure"}, _RESTARTS),
}
"""Words of faults, acts and scripts; of each group a plan has one, or the bug cannot show."""

_FAULTS = frozenset(get_args(FaultKind))
_FROM_THE_SEED = _ASKS | _LATER | _ANSWERS


def _words(plan: Plan) -> set[str]:
    does = {what for message in plan.messages for what, _ in message.script}
    does |= {"a message for later" for message in plan.messages if message.later_s is not None}
    does |= {"an answer with a mode" for one in plan.devices if one.mode is not None}
    return does | {fault.kind for fault in plan.faults} | {act.kind for act in plan.acts}


def _with_one_of(plan: Plan, kinds: set[str]) -> Plan:
    """Return a plan that has one more fault or act, of one of the kinds."""
    draw = Random(f"{plan.seed} {sorted(kinds)}")
    kind: Any = draw.choice(sorted(kinds))
    if kind in _FAULTS:
        fault = attrs.evolve(draw_fault(draw, 5.7), kind=kind)
        return with_one_clock(attrs.evolve(plan, faults=(*plan.faults, fault)))
    return attrs.evolve(plan, acts=(*plan.acts, attrs.evolve(draw_act(draw, [0], plan.sessions), kind=kind)))


def _with_a_lost_answer(plan: Plan) -> Plan:
    """Return a plan whose link to the hub is stuck for a while, and whose server is killed meanwhile."""
    draw = Random(f"{plan.seed} a lost answer")
    kind: Any = draw.choice(("stall_link", "refuse_links"))
    at_s = draw.uniform(0.0, 2.0)
    stuck = Fault(kind, at_s=at_s, amount=3.0)
    killed = Fault("kill_server", at_s=at_s + draw.uniform(0.0, 1.0), amount=0.5)
    return attrs.evolve(plan, faults=(stuck, killed))


def _with_trouble_of_a_stale_server(plan: Plan) -> Plan:
    """Return a plan with a second server, and trouble of the storage while the first one is still there."""
    draw = Random(f"{plan.seed} a stale server")
    kind: Any = draw.choice(("storage_down", "append_unknown_before", "append_fails"))
    at_s = draw.uniform(0.0, 1.5)
    second = Fault("second_server", at_s=at_s, amount=4.0)
    trouble = Fault(kind, at_s=at_s + draw.uniform(0.0, 1.0), amount=draw.uniform(0.1, 1.0))
    return with_one_clock(attrs.evolve(plan, faults=(second, trouble)))


MADE: dict[str, Callable[[Plan], Plan]] = {
    "decisions_forgotten": _with_a_lost_answer,
    "stale_owner_takes_back": _with_trouble_of_a_stale_server,
}
"""Plans that are made for a bug, since its faults must meet."""


def _plans(name: str) -> Iterator[Plan]:
    """Yield plans that have what a bug needs. What is rare in plans is put into them."""
    found = 0
    for seed in range(WITHIN * 20):
        plan = draw_plan(seed)
        if name in MADE:
            plan = MADE[name](plan)
        for group in NEEDS.get(name, ()):
            if not _words(plan) & group and not group <= _FROM_THE_SEED:
                plan = _with_one_of(plan, group)
        if all(_words(plan) & group for group in NEEDS.get(name, ())):
            yield plan
            found += 1
        if found == WITHIN:
            return


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    """By a history that is fine without it: two servers on one folder may also trade a session with no bug at all."""
    assert any(_is_wrong_by(name, plan) for plan in _plans(name))


def _is_wrong_by(name: str, plan: Plan) -> bool:
    with plant(name):
        wrong = bool(run_history(plan).violations)
    return wrong and not run_history(plan).violations
