"""What a session leaves behind as it moves to another machine, and what it takes along. Pure."""

from __future__ import annotations

import attrs

from actors.events.conversation import Notice
from actors.session.inputs import HubGone
from actors.session.steps.hub_life_steps import hub_gone
from actors.session.steps.step import Step

__all__ = ["MOVED", "leave_machine"]

MOVED = "moved"
"""The code of the notice."""

LOST_HUB = "lost"
"""The id of a hub that nobody knows; no real hub has it."""


def leave_machine(step: Step, *, home: str, to: str, by: str | None, is_away: bool) -> None:
    """End what is bound to a session's machine; history, messages that wait, settings and grants stay, but a mode that
    never asks does not: it was chosen for that machine.

    A running turn is interrupted. If the machine is away, nobody can know how far its agent came: the turn then ends as
    after a hub that died, and a message that the agent may have had becomes `unknown`. What waits is next, and runs at
    the new machine: the effects of this step are not to be run.

    Args:
        by: the label of the device that moves it.
        is_away: the machine is gone, with a hub that may live; else its hub is dead.
    """
    state = step.state
    content = f"The session moved from {home} to {to}."
    if is_away:
        content += f" What {home} had not stored is not in it."
    content += " The agent starts a new conversation with the next message, and gets the history."
    step.emit(Notice(MOVED, content), device_id=by)
    state.where = None  # a terminal of the old machine; it would keep back what waits
    if state.offer.kind_of(state.settings.permission_mode) == "bypass":
        step.set_settings(attrs.evolve(state.settings, permission_mode=None), device_id=by)
    _end_turn(step, by, f"its machine, {home}, is away" if is_away else None)
    state.leaving.clear()
    state.agent_memory = None
    state.renewals += 1  # no old conversation of the new machine comes back
    state.desk, state.unsure, state.unsaved, state.joined = None, False, None, False
    state.live.clear()
    state.control_dirty = True


def _end_turn(step: Step, by: str | None, lost: str | None) -> None:
    """End the running turn and forget the hub. `lost`: why nobody knows what the hub does; None if it is dead."""
    state = step.state
    turn = state.turn
    if turn is not None and lost is not None:
        turn.may_move = False  # that hub may have its prompt
    if turn is not None and (lost is None or state.is_at_desk):
        turn.stopping_by = turn.stopping_by or by
    if state.is_at_desk:
        step.stop_turn()
    elif turn is not None or state.hub_id is not None:
        state.hub_id = state.hub_id or LOST_HUB
        hub_gone(step, HubGone(state.hub_id, "died", lost or ""))
