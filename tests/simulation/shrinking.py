"""Makes a plan that goes wrong smaller, as long as it goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from tests.simulation.plan import Knobs, Plan

__all__ = ["shrink"]

MOST_RUNS = 300
"""Histories that one shrinking may run: a few seconds."""


def shrink(plan: Plan, is_wrong: Callable[[Plan], bool]) -> Plan:
    """Return a plan that `is_wrong` still holds of, with all left out that is not needed for it.

    A part that is left out changes the course of all that follows, so the result is small, not smallest.
    """
    runs = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(plan):
            runs += 1
            if runs > MOST_RUNS:
                return plan
            if is_wrong(candidate):
                plan, smaller = candidate, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Yield plans that lack one thing, the larger things first."""
    for name in ("faults", "acts", "messages"):
        parts = getattr(plan, name)
        for number in range(len(parts)):
            yield attrs.evolve(plan, **{name: parts[:number] + parts[number + 1 :]})
    last = len(plan.devices) - 1
    used = {one.device for one in plan.messages} | {one.device for one in plan.acts}
    if last and last not in used:
        yield attrs.evolve(plan, devices=plan.devices[:last])
    if len(plan.sessions) > 1:
        yield from _without_last_session(plan)
    for number, message in enumerate(plan.messages):
        for place in range(len(message.script) - 1):
            script = message.script[:place] + message.script[place + 1 :]
            shorter = attrs.evolve(message, script=script)
            yield attrs.evolve(
                plan, messages=(*plan.messages[:number], shorter, *plan.messages[number + 1 :])
            )
    for field in attrs.fields(Knobs):
        usual: Any = field.default
        if getattr(plan.knobs, field.name) != usual:
            yield attrs.evolve(plan, knobs=attrs.evolve(plan.knobs, **{field.name: usual}))


def _without_last_session(plan: Plan) -> Iterator[Plan]:
    gone = plan.sessions[-1]
    if gone in {one.session_id for one in plan.messages} | {one.session_id for one in plan.acts}:
        return
    sessions = plan.sessions[:-1]
    devices = tuple(attrs.evolve(one, sessions=sessions) for one in plan.devices)
    yield attrs.evolve(plan, sessions=sessions, devices=devices)
