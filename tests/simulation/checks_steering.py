"""What must be true of settings, of answers with a mode and of messages for later, once a history has come to rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import Delivery, Notice, TurnStarted, UserMessage
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import SessionUpdated, Settings

if TYPE_CHECKING:
    from tests.simulation.plan import FaultKind
    from tests.simulation.world import World

__all__ = ["check_answers", "check_later", "check_settings"]

HOUR_MS: Final = 3600 * 1000
SECOND_MS: Final = 1000

PUNCTUAL: Final[frozenset[FaultKind]] = frozenset(
    {
        *("kill_server", "stop_server", "stop_all", "kill_hub", "fail_start", "slow_start"),
        *("cut_link", "stall_link", "refuse_links", "cut_device", "stall_device", "vanish_device"),
    }
)
"""Faults that delay a message for later only until a server serves: clock and storage are well."""

STORE_CALLS: Final = 12
"""Calls of a slow storage between the time of a message and its turn, at most."""


def _settings(items: Sequence[Committed]) -> Iterator[tuple[int, Settings]]:
    for item in items:
        if isinstance(item.event, SessionUpdated) and item.event.settings is not None:
            yield item.seq, item.event.settings


def check_settings(world: World, session_id: str, items: Sequence[Committed]) -> None:
    """Each turn works with the settings that held when it started, or with newer ones."""
    known: list[tuple[int, tuple[str | None, str | None]]] = [(0, (None, None))]
    known += [(seq, (one.model, one.permission_mode)) for seq, one in _settings(items)]
    started = {item.turn_id: item.seq for item in items if isinstance(item.event, TurnStarted)}
    for turn_id, taken in world.log.turns.items():
        if turn_id in started:
            held = max(number for number, (seq, _) in enumerate(known) if seq <= started[turn_id])
            allowed = [one for _, one in known[held:]]
            if (taken.model, taken.mode) not in allowed:
                world.chaos.complain(
                    f"turn {turn_id} of {session_id} has {taken.model} and {taken.mode}, not one of {allowed}"
                )


def check_answers(world: World, session_id: str, items: Sequence[Committed]) -> None:
    """An answer with a mode sets it. A mode in which the agent would not have asked allows what it asked."""
    mode: str | None = None
    set_by_answer: str | None = None
    open_requests: dict[str, PermissionRequested] = {}
    for item in items:
        event = item.event
        if set_by_answer is not None and not isinstance(event, SessionUpdated):
            world.chaos.complain(f"{session_id}: {set_by_answer} came with an answer and was not set")
            set_by_answer = None
        if isinstance(event, PermissionResolved):
            one = open_requests.pop(event.request_id)
            if mode in one.modes and event.decision != "cancelled" and event.note != f"mode {mode}":
                world.chaos.complain(f"{session_id}: {one.request_id} was not allowed by {mode}")
            set_by_answer = event.mode
            continue
        for one in open_requests.values():
            if mode in one.modes:
                world.chaos.complain(f"{session_id}: {one.request_id} stays open in {mode}")
        if isinstance(event, PermissionRequested):
            open_requests[event.request_id] = event
        elif isinstance(event, SessionUpdated) and event.settings is not None:
            mode = event.settings.permission_mode
            if set_by_answer not in (None, mode):
                world.chaos.complain(f"{session_id}: {set_by_answer} came with an answer, and {mode} was set")
            set_by_answer = None


def check_later(world: World, session_id: str, items: Sequence[Committed]) -> None:
    """A message for later runs in its time, or waits for a person if it is over an hour late."""
    for item in items:
        event = item.event
        if isinstance(event, UserMessage) and event.not_before_ms is not None:
            _check_one(world, session_id, items, event.message_id, event.not_before_ms)


def _check_one(
    world: World, session_id: str, items: Sequence[Committed], message_id: str, time_ms: int
) -> None:
    where = f"{message_id} of {session_id}, for later,"
    turn_ids = {
        item.turn_id
        for item in items
        if isinstance(item.event, UserMessage | Delivery) and item.event.message_id == message_id
    }
    of_it = [item for item in items if item.turn_id in turn_ids]
    kept = [one for one in of_it if isinstance(one.event, Notice) and one.event.code == "later_held"]
    starts = [one for one in of_it if isinstance(one.event, TurnStarted)]
    is_cancelled = any(one.event == Delivery(message_id, "cancelled") for one in of_it)
    sent_now = any(message_id in device.sent_now for device in world.devices)
    may_keep = world.store.record(session_id).epoch > 1  # type: ignore[union-attr]  # it has a journal
    for one in kept:
        if one.at_ms - time_ms <= HOUR_MS and not may_keep:
            world.chaos.complain(f"{where} is kept back {one.at_ms - time_ms} ms after its time")
    if not starts:
        if not kept and not is_cancelled and time_ms <= world.chaos.now_ms() and not _failed(items):
            world.chaos.complain(f"{where} never ran")
    elif not sent_now:
        _check_start(world, where, items, starts[0], time_ms)


def _failed(items: Sequence[Committed]) -> bool:
    return any(isinstance(item.event, SessionUpdated) and item.event.failed for item in items)


def _check_start(
    world: World, where: str, items: Sequence[Committed], start: Committed, time_ms: int
) -> None:
    """It starts not before its time, and within a second of it; or of the turn before it, or of a server's start."""
    faults = world.plan.faults
    if all(one.kind != "clock_jump" or one.amount >= 1.0 for one in faults) and start.at_ms < time_ms:
        world.chaos.complain(f"{where} ran {time_ms - start.at_ms} ms before its time")
    before = [item for item in items if item.seq < start.seq]
    others = [item.at_ms for item in before if isinstance(item.event, TurnStarted) and item.at_ms >= time_ms]
    if start.at_ms - time_ms > HOUR_MS and not others:
        world.chaos.complain(f"{where} ran over an hour late without a person's word")
    if any(one.kind not in PUNCTUAL for one in faults):
        return
    ends = [item.at_ms for item in before if item.event.kind in TURN_ENDS]
    served = [one.served_at_ms for one in world.servers if one.served_at_ms is not None]
    free_ms = max([time_ms, *ends, *(at_ms for at_ms in served if at_ms <= start.at_ms)])
    slack_ms = SECOND_MS + STORE_CALLS * int(world.plan.knobs.store_delay_s * 1000)
    if start.at_ms - free_ms > slack_ms:
        world.chaos.complain(f"{where} ran {start.at_ms - free_ms} ms late")
