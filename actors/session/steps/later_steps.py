"""Messages for later, and a queue that is kept back. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from actors.commands import Send
from actors.events.conversation import Notice
from actors.events.session import Held, SessionUpdated
from actors.replies import RejectCode
from actors.session.state import SessionState, WaitingMessage
from actors.session.steps.step import Step

__all__ = ["MAX_SCHEDULED", "is_later", "look_at_clock", "refusal_of_time", "scheduled", "send_now"]

MAX_SCHEDULED: Final = 20
"""Messages for later in one session, beside those that wait (PROTOCOL section 8, Later)."""

MAX_AHEAD_MS: Final = 30 * 24 * 3600 * 1000
MAX_LATE_MS: Final = 3600 * 1000
"""A message that is later than this waits for a person's word."""


def is_later(send: Send, now_ms: int) -> bool:
    """Tell whether a message waits for a time that is still to come."""
    return send.not_before_ms is not None and send.not_before_ms > now_ms


def scheduled(state: SessionState) -> list[WaitingMessage]:
    """Return the messages for later, those included that wait for a person's word."""
    return [one for one in state.queue.values() if one.kept or one.not_before_ms is not None]


def refusal_of_time(state: SessionState, send: Send, now_ms: int) -> tuple[RejectCode, str] | None:
    """Return why a message for later cannot be taken; None if it can."""
    assert send.not_before_ms is not None
    if send.not_before_ms > now_ms + MAX_AHEAD_MS:
        return "bad_time", "a message can be sent at most 30 days ahead"
    if len(scheduled(state)) >= MAX_SCHEDULED:
        return "queue_full", f"{MAX_SCHEDULED} messages for later wait already"
    return None


def send_now(step: Step, message_id: str, author: str) -> bool:
    """Have a message for later be the next one; return whether it is one."""
    waiting = step.state.queue.get(message_id)
    if waiting is None or waiting not in scheduled(step.state):
        return False
    _release(step.state, waiting)
    if step.state.turn is None and not step.state.failed and not step.is_undoing:
        step.start_turn(waiting, device_id=author)
    return True


def look_at_clock(step: Step, revoked: Collection[str]) -> None:
    """Let go what the clock has kept back, as far as its time came."""
    state = step.state
    for waiting in scheduled(state):
        if not waiting.kept and waiting.not_before_ms is not None:
            _look_at(step, waiting, waiting.not_before_ms, revoked)
    state.was_restored = False
    if state.held is not None and state.held.until_ms is not None and state.held.until_ms <= step.now_ms:
        step.emit(SessionUpdated(held=Held("")))
    step.start_next()


def _look_at(step: Step, waiting: WaitingMessage, at_ms: int, revoked: Collection[str]) -> None:
    state, why = step.state, ""
    if state.was_restored:
        why = "the session was restored from a backup"
    elif at_ms > step.now_ms:
        return
    elif waiting.key_id in revoked:
        why = "the key that sent it was revoked"
    elif step.now_ms - at_ms > MAX_LATE_MS:
        why = "it is over an hour late"
    if not why:
        _release(state, waiting)
        return
    waiting.kept, state.control_dirty = True, True
    step.emit(
        Notice("later_held", f"A message for later waits for your word: {why}."), turn_id=waiting.turn_id
    )


def _release(state: SessionState, waiting: WaitingMessage) -> None:
    waiting.not_before_ms, waiting.kept = None, False
    state.control_dirty = True
