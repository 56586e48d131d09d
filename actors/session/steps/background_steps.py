"""What a session does with its agent's work between turns: turns without a message, and tasks that outlive theirs. Pure."""

from __future__ import annotations

import attrs

from actors.events.conversation import Notice, TurnStarted
from actors.events.work import TaskFinished, TaskProgress, TaskStarted
from actors.session.effects import SendToHub
from actors.session.state import Turn
from actors.session.steps.live_steps import live_turn_began
from actors.session.steps.step import Step
from bridgehub.protocol import events as hub
from bridgehub.protocol.limits import MAX_ID_CHARS
from bridgehub.protocol.messages import StopTask

__all__ = ["FULL", "MAX_BACKGROUND", "own_turn_began", "stop_task", "told_in_background", "told_of_own_turn"]

MAX_BACKGROUND = 50
"""Tasks in the background of one session (PROTOCOL section 14); what is said of one more is left out."""

FULL = Notice(
    "background_full",
    f"More than {MAX_BACKGROUND} tasks run in the background. The newest run too, but are not listed.",
)
"""Says once that tasks are left out, until all others have ended."""


def own_turn_began(step: Step, event: hub.TurnBegan) -> None:
    """Take a turn that the agent began by itself; if a message's turn runs, what it does belongs to that one."""
    if event.is_desk:
        live_turn_began(step, event)
        return
    turn, turn_id = step.state.turn, event.turn_id
    if len(turn_id) > MAX_ID_CHARS or not turn_id:
        return
    if turn is None:
        step.emit(TurnStarted(None, "background"), turn_id=turn_id)
    elif turn.message_id is not None:
        turn.own_turn_id = turn_id
        step.state.control_dirty = True


def told_of_own_turn(step: Step, turn: Turn, event: hub.HubEvent) -> hub.HubEvent | None:
    """Return an event of the agent's own turn as one of the message's turn that it belongs to; None for its end."""
    if isinstance(event, hub.TurnDone | hub.TurnFailed | hub.TurnStopped):
        turn.own_turn_id = None
        step.state.control_dirty = True
        if isinstance(event, hub.TurnFailed):
            step.emit_in_turn(Notice("background_failed", event.content))
        return None
    return attrs.evolve(event, turn_id=turn.turn_id)


def told_in_background(step: Step, event: hub.HubEvent) -> bool:
    """Take news of a task in the background, in a turn or between two; return whether it was that.

    It says nothing of whether the agent took a prompt.
    """
    known, turn = step.state.background, step.state.turn
    turn_id = None if turn is None else turn.turn_id
    match event:
        case hub.TaskBegan(background=True):
            if event.task_id not in known and len(known) >= MAX_BACKGROUND:
                if not step.state.background_full:
                    step.emit(FULL, turn_id=turn_id)
            elif event.task_id not in known:
                started = TaskStarted(
                    event.task_id, event.title, event.agent_type, event.parent_task_id, background=True
                )
                step.emit(started, turn_id=turn_id)
        case hub.TaskProgressed() if event.task_id in known:
            task = known[event.task_id].started
            step.emit(
                TaskProgress(
                    task.task_id,
                    task.title,
                    task.agent_type,
                    event.progress,
                    task.parent_task_id,
                    background=True,
                ),
                turn_id=turn_id,
            )
        case hub.TaskEnded() if event.task_id in known:
            task = known[event.task_id].started
            step.emit(
                TaskFinished(
                    task.task_id,
                    task.title,
                    task.agent_type,
                    event.state,
                    event.result,
                    task.parent_task_id,
                    background=True,
                ),
                turn_id=turn_id,
            )
        case _:
            return False
    return True


def stop_task(step: Step, task_id: str) -> None:
    """Have the hub end a task in the background, and again on each new link until it has ended."""
    task = step.state.background[task_id]
    task.is_stopping = True
    step.state.control_dirty = True
    step.do(SendToHub(StopTask(task_id)))
