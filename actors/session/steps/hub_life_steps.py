"""What a session does as its hub takes a link, and as its hub is gone. Pure."""

from __future__ import annotations

from actors.events.conversation import DeliveryState, TurnError, TurnErrorCode
from actors.session.effects import ForgetHub, SendHistory, SendToHub, SteerHub, StopHub
from actors.session.inputs import HubGone, HubReady
from actors.session.state import Turn
from actors.session.steps.step import Step, decided, hand_over, setup_of
from bridgehub.protocol import messages as hub

__all__ = ["MAX_ASKED_AGAIN", "hub_gone", "hub_ready", "warm_up"]

MAX_ASKED_AGAIN = 10
"""How often a turn's message goes to a new hub because the one before died while it asked for trust."""


def warm_up(step: Step, *, joins: bool = False) -> None:
    """Have the agent's program ready for a message that may come, or for a terminal that joins it."""
    state = step.state
    needs_none = state.turn is not None and (not joins or state.hub_id is None)
    if needs_none or state.where is not None or state.failed:
        return
    if state.hub_id is None:
        step.start_hub()
        state.is_warmed, state.is_awaited = True, joins
    elif state.takes_warm_up:
        step.do(SendToHub(hub.WarmUp(state.taken, setup_of(state), joins)))


def hub_ready(step: Step, given: HubReady) -> None:
    """Say to a hub that took a link what still matters: it may have missed anything since the link before."""
    state, turn, welcome = step.state, step.state.turn, given.welcome
    if given.hub_id != state.hub_id:
        return
    state.can_steer, state.hub_is_old = welcome.can_steer, not welcome.takes_setup
    state.takes_warm_up = welcome.takes_warm_up
    step.tell_setup()
    for task_id, task in state.background.items():
        if task.is_stopping:
            step.do(SendToHub(hub.StopTask(task_id)))
    if turn is None or state.is_at_desk:
        if state.is_warmed:
            joins, state.is_awaited = state.is_awaited, False
            warm_up(step, joins=joins)
        return
    if turn.message_id is not None and not turn.is_live and welcome.last_turn_id != turn.turn_id:
        if turn.stopping_by is not None and not turn.consumed:
            step.stop_turn()  # the agent never had the prompt, and need not
            return
        if turn.consumed:
            content = "the agent does not know the turn that it was working on"
            step.end_turn("failed", TurnError("agent_exited", content, retryable=True))
            return
        if state.hub_is_old:
            step.release_hub(StopHub)
            step.start_hub()
            return
        step.do(hand_over(state, turn))
    for request_id in welcome.waiting:
        if request_id in turn.decided:
            step.do(SendToHub(decided(turn.decided[request_id])))
    for message_id, waiting in turn.steered.items():
        if message_id not in turn.steered_taken and message_id not in welcome.steered:
            step.do(SteerHub(turn.turn_id, message_id, waiting.seq))
    if welcome.history_wanted and turn.message_id is not None:
        step.do(SendHistory(turn.turn_id, turn.message_id, turn.started_seq, welcome.history_wanted))
    if turn.stopping_by is not None:
        step.do(SendToHub(hub.InterruptTurn(turn.turn_id)))


def hub_gone(step: Step, given: HubGone) -> None:
    """Start a new hub if the agent surely has nothing of the message; else end the turn with what is known."""
    state = step.state
    step.do(ForgetHub(given.hub_id))
    if given.hub_id in state.leaving:
        del state.leaving[given.hub_id]
        state.control_dirty = True
    if given.hub_id != state.hub_id:
        return
    state.hub_id, state.hub_seq, state.joined = None, 0, False
    step.cancel_background()
    turn = state.turn
    if turn is None or state.is_at_desk:
        return
    if turn.stopping_by is not None:
        step.stop_turn()
        return
    untold = given.reason == "never_started" or (turn.may_move and given.last_prompt != turn.turn_id)
    if untold and not turn.consumed:
        # It died before the prompt could reach it: the message is nobody's yet.
        turn.may_move = False
        step.start_hub()
        return
    if (
        not turn.consumed
        and _asks_for_trust(turn)
        and given.reason == "died"
        and len(turn.decided) < MAX_ASKED_AGAIN
    ):
        # The agent has nothing of the message before this is answered.
        step.cancel_requests(None)
        step.start_hub()
        return
    delivery: DeliveryState
    code: TurnErrorCode
    if given.reason == "not_started":
        delivery, code, content = "failed", "agent_exited", "the agent could not be started"
    elif given.reason == "garbage":
        delivery = "failed" if turn.consumed else "unknown"
        code, content = "agent_protocol", "the agent's hub broke the protocol and was ended"
    elif turn.consumed:
        delivery, code, content = "failed", "agent_exited", "the agent's hub ended in the middle of the turn"
    else:
        delivery, code = "unknown", "unknown_outcome"
        content = "the agent's hub ended, and nobody knows whether the agent took the message"
    if given.detail:
        content = f"{content}: {given.detail}"
    step.end_turn(delivery, TurnError(code, content, retryable=True))


def _asks_for_trust(turn: Turn) -> bool:
    """Tell whether the session's own agent waits for a word on its folder, and so has nothing of the prompt."""
    return any(request.about == "trust" and request.task_id is None for request in turn.requests.values())
