"""The ladder: who is notified of an alert, and when somebody else is. Pure: an alert and the world in, the next step out.

| step | when its time comes | next |
|---|---|---|
| `GRACE` | quiet hours | stays until their end |
| `GRACE` | somebody watches the session, and it asks for a decision | `WATCHED` for at most 45 s |
| `GRACE` | somebody watches the session, else | settled: `seen` |
| `GRACE` | the session is in its next turn, and only the end of one is notified | settled: `continued` |
| `GRACE` | nobody watches | `ONE`: one label is notified |
| `WATCHED` | the watcher leaves, or its time is over | `ONE` |
| `ONE` | nobody settled it in `escalate_s` | `ALL`: the others are notified |
| `ALL` | nobody settled it in `fallback_s` | `DONE`: the channels with `when = "fallback"` are notified |

The label that is notified first is that of the author for the end of a turn, then the one that was active last among those
with a channel that wants the alert. Without one all are notified. No others hear of a turn that ended well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from storage.tables.notifications.alerts import Alert, Told

__all__ = [
    "ALL",
    "DONE",
    "GRACE",
    "ONE",
    "WATCHED",
    "WATCHED_MS",
    "ChannelPlace",
    "Next",
    "World",
    "asks",
    "route",
    "want_of",
]

GRACE: Final = 0
WATCHED: Final = 1
ONE: Final = 2
ALL: Final = 3
DONE: Final = 4

WATCHED_MS: Final = 45_000
"""How long somebody who looks at a session may take to decide before a device is notified."""

_ASKING: Final = frozenset({"decision", "unknown", "late"})
_LOUD: Final = _ASKING | {"failed"}
"""The kinds that all are notified of if the first one does nothing."""

_WANTS: Final = {"decision": "decision", "unknown": "decision", "late": "decision", "failed": "failed"}


def asks(kind: str) -> bool:
    """Return whether an alert of this kind waits for a person's word."""
    return kind in _ASKING


def want_of(kind: str) -> str:
    """Return the switch of a channel that an alert of this kind goes by."""
    return _WANTS.get(kind, "finished")


@attrs.frozen
class ChannelPlace:
    """A channel as the ladder sees it.

    Attributes:
        refusal: why it is never notified of this alert: `not_wanted` `no_right` `asleep` `gone` `no_sender`
            `other_person`; None: it may be notified.
        is_fallback: it is notified last.
    """

    channel_id: str
    label: str
    refusal: str | None = None
    is_fallback: bool = False


@attrs.frozen(kw_only=True)
class World:
    """What the ladder knows beside the alert.

    Attributes:
        watched: somebody who may settle the alert looks at its session.
        runs: the session works on its next turn.
        active: labels, the one that was active last first.
        quiet_until_ms: the end of the quiet hours; None outside of them.
    """

    now_ms: int
    places: Sequence[ChannelPlace]
    watched: bool = False
    runs: bool = False
    active: Sequence[str] = ()
    quiet_until_ms: int | None = None
    escalate_ms: int = 120_000
    fallback_ms: int = 300_000


@attrs.frozen
class Next:
    """The next step. `settle`: what settles the alert instead; then nothing else counts."""

    step: int
    due_at_ms: int | None
    told: tuple[Told, ...] = ()
    settle: str | None = None


def route(alert: Alert, world: World) -> Next:
    """Return the next step of an open alert whose time has come, or whose watcher has left."""
    if alert.step in (GRACE, WATCHED) and not asks(alert.kind):
        if world.watched:
            return Next(alert.step, None, settle="seen")
        if world.runs and alert.kind in ("finished", "background"):
            return Next(alert.step, None, settle="continued")
    if world.quiet_until_ms is not None:
        told = _skipped(world, "quiet_hours") if alert.step < ONE else ()
        return Next(alert.step, world.quiet_until_ms, told)
    if alert.step == GRACE and world.watched:
        return Next(WATCHED, world.now_ms + WATCHED_MS, _skipped(world, "watching"))
    if alert.step in (GRACE, WATCHED):
        return _tell_one(alert, world)
    if alert.step == ONE:
        return _tell_all(world)
    fallback = [place for place in world.places if place.is_fallback and place.refusal is None]
    return Next(DONE, None, tuple(Told(place.channel_id) for place in fallback))


def _tell_one(alert: Alert, world: World) -> Next:
    able = [place for place in world.places if place.refusal is None and not place.is_fallback]
    labels = {place.label for place in able}
    asker = [alert.author] if alert.kind in ("finished", "failed", "background") else []
    first = next((label for label in [*asker, *world.active] if label in labels), None)
    if first is None:
        return (
            _tell_all(world)
            if alert.kind in _LOUD
            else attrs.evolve(_tell_all(world), step=DONE, due_at_ms=None)
        )
    told = tuple(
        Told(
            place.channel_id,
            place.refusal or (None if place.label == first and place in able else "not_its_turn"),
        )
        for place in world.places
    )
    if alert.kind in _LOUD:
        return Next(ONE, world.now_ms + world.escalate_ms, told)
    return Next(DONE, None, told)


def _tell_all(world: World) -> Next:
    last = any(place.is_fallback and place.refusal is None for place in world.places)
    told = tuple(
        Told(place.channel_id, place.refusal or ("not_its_turn" if place.is_fallback else None))
        for place in world.places
    )
    return Next(ALL, world.now_ms + world.fallback_ms, told) if last else Next(DONE, None, told)


def _skipped(world: World, reason: str) -> tuple[Told, ...]:
    return tuple(Told(place.channel_id, place.refusal or reason) for place in world.places)
