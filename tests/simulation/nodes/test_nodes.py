"""Simulated histories of two nodes: the promises hold over kills, cuts and lost mail, and planted bugs are found."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import attrs
import pytest

from tests.simulation.bugs import plant
from tests.simulation.history import run_history
from tests.simulation.nodes.bugs import BUGS
from tests.simulation.plan import Fault, FaultKind, MessagePlan, Plan, draw_nodes_plan
from tests.simulation.reporting import report

HISTORIES = int(os.environ.get("HISTORIES", "5000")) // 200
"""One for two hundred of the simulation of one server: each takes ten times as long."""

WITHIN = 400
"""Plans that may be needed to find a bug; most are found within ten."""


@pytest.mark.parametrize("start", range(0, HISTORIES, 5))
def test_promises_hold_over_two_nodes(start: int) -> None:
    for seed in range(start, min(start + 5, HISTORIES)):
        outcome = run_history(draw_nodes_plan(seed))
        assert not outcome.violations, report(outcome)


def test_a_history_of_two_nodes_repeats_to_the_letter() -> None:
    plan = draw_nodes_plan(3)
    first, second = (run_history(plan, tracing=True) for _ in range(2))
    assert first.trace == second.trace
    assert " serves" in first.trace


def _busy(plan: Plan, faults: tuple[Fault, ...]) -> Plan:
    """Return a plan in which all devices talk in one session all the time."""
    script = (("take", 0), ("say", 0.1), ("slow", 0.3), ("say", 0.1), ("done", 0))
    device = attrs.evolve(plan.devices[0], sessions=plan.sessions[:1], observe=False)
    devices = tuple(attrs.evolve(device, name=f"d{number}") for number in range(3))
    messages = tuple(
        MessagePlan(f"m{number}", plan.sessions[0], number % 3, number * 0.4, False, script)
        for number in range(15)
    )
    knobs = attrs.evolve(plan.knobs, device_delay_s=0.0, actor_idle_s=10.0)
    return attrs.evolve(
        plan,
        sessions=plan.sessions[:1],
        devices=devices,
        messages=messages,
        acts=(),
        faults=faults,
        knobs=knobs,
    )


def _cut_for_long(plan: Plan) -> Plan:
    return _busy(plan, (Fault("cut_node", at_s=0.6, amount=8.0),))


def _with_lost_mail(plan: Plan) -> Plan:
    return attrs.evolve(plan, faults=(), knobs=attrs.evolve(plan.knobs, mail_lost=0.15))


def _busy_with_lost_mail(plan: Plan) -> Plan:
    return _with_lost_mail(_busy(plan, ()))


def _with_a_fail_over(plan: Plan) -> Plan:
    return _busy(plan, (Fault("power_cut", at_s=Random(plan.seed).uniform(0.5, 5.0)),))


def _with_one(kind: FaultKind) -> Callable[[Plan], Plan]:
    return lambda plan: attrs.evolve(plan, faults=(Fault(kind, at_s=1.0, amount=2.0),))


def _side_by_side(plan: Plan) -> Plan:
    """Return a plan in which two sessions end turns all the time, and commits take a while."""
    sessions, script = ("s0", "s1"), (("take", 0.0), ("done", 0.0))
    device = attrs.evolve(plan.devices[0], sessions=sessions, observe=False)
    messages = tuple(
        MessagePlan(f"m{number}", sessions[number % 2], number % 2, number * 0.1, False, script)
        for number in range(12)
    )
    return attrs.evolve(
        plan,
        sessions=sessions,
        devices=tuple(attrs.evolve(device, name=f"d{number}") for number in range(2)),
        messages=messages,
        acts=(),
        faults=(),
        knobs=attrs.evolve(plan.knobs, store_delay_s=0.2, mail_lost=0.0),
    )


MADE: dict[str, Callable[[Plan], Plan]] = {
    "silent_node_vouches": _cut_for_long,
    "trouble_is_not_told": _cut_for_long,
    "pieces_may_be_lost": _with_a_fail_over,
    "events_before_answers": _busy_with_lost_mail,
    "lost_news_are_forgotten": _with_lost_mail,
    "numbers_are_the_order": _side_by_side,
    "numbers_end_with_the_primary": _with_a_fail_over,
    "an_import_is_news": _with_one("import"),
    "the_older_process_stays": _with_one("same_name"),
}
"""Plans that are made for a bug, since what it needs is rare in others."""


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_between_nodes_is_found(name: str) -> None:
    plans = (MADE[name](plan) if name in MADE else plan for plan in map(draw_nodes_plan, range(WITHIN)))
    assert any(_is_wrong_by(name, plan) for plan in plans)


def _is_wrong_by(name: str, plan: Plan) -> bool:
    with plant(name, BUGS):
        wrong = bool(run_history(plan).violations)
    return wrong and not run_history(plan).violations
