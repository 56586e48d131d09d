"""Plans that went wrong once, made small: each holds what was fixed then.

To add one: take the smaller plan that a failure prints, give it the name of what was wrong, and see it fail without
the fix. Prefer times to ticks, and run a plan with several seeds: a change elsewhere moves what happens at one
tick, and a plan that meets nothing holds nothing.
"""

from __future__ import annotations

import attrs
import pytest

from tests.simulation.bugs import plant
from tests.simulation.history import run_history
from tests.simulation.plan import DevicePlan, Fault, Knobs, MessagePlan, Plan

SEEDS = range(24)

STALE_OWNER_HANDS_OVER = Plan(
    seed=0,
    sessions=("s0",),
    devices=(DevicePlan("d0", ("s0",), decides_s=0.0),),
    messages=(MessagePlan("m0", "s0", device=0, at_s=0.3, steer=False, script=(("done", 0),)),),
    faults=(Fault("second_server", at_s=0.35, amount=2.0),),
    knobs=Knobs(start_s=1.0),
)
"""A hub takes a while to start; meanwhile another server takes the session over, finds no hub and starts one. Then
the first hub is there, and its server, which is no longer the owner, handed it the message too."""


STALE_OWNER_TAKES_BACK = attrs.evolve(
    STALE_OWNER_HANDS_OVER,
    faults=(*STALE_OWNER_HANDS_OVER.faults, Fault("append_fails", at_s=0.4)),
)
"""The same, and the first append of the first server then fails: it loaded the session again, and so took it back from the
second, whose devices then saw no more of it."""


HUB_STARTS_LATE = attrs.evolve(
    STALE_OWNER_HANDS_OVER,
    faults=(Fault("second_server", at_s=0.6, amount=2.0),),
    knobs=Knobs(start_s=1.0, store_delay_s=0.2),
)
"""The other server journals that the hub never started, and before it forgets that hub the hub is there: nobody knew
of it any more, and it lived on after all was stopped."""


def _wrong(plan: Plan) -> set[str]:
    """Return what goes wrong in a plan under any of several schedules."""
    outcomes = [run_history(attrs.evolve(plan, seed=seed)) for seed in SEEDS]
    return {text for outcome in outcomes for text in outcome.violations}


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(STALE_OWNER_HANDS_OVER, id="a stale owner hands a message over"),
        pytest.param(STALE_OWNER_TAKES_BACK, id="a stale owner takes the session back"),
        pytest.param(HUB_STARTS_LATE, id="a hub starts late"),
    ],
)
def test_what_was_mended_holds(plan: Plan) -> None:
    assert _wrong(plan) == set()


def test_a_stale_owner_would_still_be_seen() -> None:
    with plant("stale_owner_hands_over"):
        assert "turn i1 of m0 reached an agent twice" in _wrong(STALE_OWNER_HANDS_OVER)
    with plant("stale_owner_takes_back"):
        assert _wrong(STALE_OWNER_TAKES_BACK)
