"""Plans that went wrong once, made small: each holds what was mended then.

To add one: take the smaller plan that a failure prints, give it the name of what was wrong, and see it fail without
the mending.
"""

from __future__ import annotations

import pytest

from tests.simulation.bugs import plant
from tests.simulation.history import run_history
from tests.simulation.plan import DevicePlan, Fault, Knobs, MessagePlan, Plan

STALE_OWNER_HANDS_OVER = Plan(
    seed=371,
    sessions=("s0",),
    devices=(DevicePlan("d0", ("s0",), pace_ms=100, decides_s=0.0, resolves="retry"),),
    messages=(MessagePlan("m0", "s0", device=0, at_s=0.3, steer=True, script=(("done", 0),)),),
    faults=(Fault("second_server", at_tick=19, amount=2.0),),
    knobs=Knobs(start_s=1.0),
)
"""A hub takes a second to start; meanwhile another server takes the session over, finds no hub and starts one. Then
the first hub is there, and its server, which is no longer the owner, handed it the message too."""


@pytest.mark.parametrize(
    "plan", [pytest.param(STALE_OWNER_HANDS_OVER, id="a stale owner hands a message over")]
)
def test_what_was_mended_holds(plan: Plan) -> None:
    assert run_history(plan).violations == ()


def test_a_stale_owner_would_still_be_seen() -> None:
    with plant("stale_owner_hands_over"):
        assert run_history(STALE_OWNER_HANDS_OVER).violations == ("turn i1 of m0 reached an agent twice",)
