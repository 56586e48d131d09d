"""What a card says, and why a device was notified of something or not. Pure."""

from __future__ import annotations

from typing import Final

import attrs

from actors.events.committed import Event
from actors.events.conversation import Notice
from actors.events.permissions import PermissionRequested
from actors.events.work import TaskFinished
from storage.tables.notifications.alerts import Alert
from storage.tables.notifications.deliveries import AlertDelivery
from transport.push.alert_state import DECIDED
from transport.push.senders.sending import Card
from transport.push.settings import Detail
from transport.request_text import shown_input, visible

__all__ = [
    "DECISION_TTL_S",
    "MAX_INPUT",
    "OTHER_TTL_S",
    "Scene",
    "card_of",
    "reason_of",
    "settled_card",
    "short",
]

MAX_TITLE: Final = 60
MAX_NAME: Final = 60
MAX_INPUT: Final = 1000
"""Characters of a request's input that a card may show: a card offers to allow only what it shows whole."""

DECISION_TTL_S: Final = 3600
OTHER_TTL_S: Final = 6 * 3600
SETTLED_TTL_S: Final = 60
"""What a device never got is replaced by something that soon ends: then it never shows either."""

_NEVER_ON_A_CARD: Final = frozenset({"trust", "plan", "question"})

_PLAIN: Final = {
    "decision": "An agent waits for your decision.",
    "finished": "An agent has finished.",
    "failed": "An agent's turn failed.",
    "unknown": "An agent may have missed a message. Decide what becomes of it.",
    "background": "A task in the background has ended.",
    "late": "A message for later waits for your word.",
}
_DECIDED: Final = {"allow": "Allowed", "allow_session": "Allowed for the session", "deny": "Denied"}
_LATE: Final = {"cancelled": "Cancelled", "sent": "Sent"}

_REASONS: Final = {
    "watching": "Somebody was looking at the session.",
    "answered_first": "It was answered before anybody had to be notified.",
    "seen_first": "It was read before anybody had to be notified.",
    "continued": "The session went on to its next turn.",
    "not_wanted": "This device does not want such notifications.",
    "quiet_hours": "It was within the quiet hours.",
    "not_its_turn": "Another device was notified first.",
    "other_device_acted": "Another device acted first.",
    "too_old": "It was too old when it could be sent.",
    "no_right": "The key of this device may not decide.",
    "asleep": "This server's data is a copy, and the device has not used it yet.",
    "gone": "The device no longer accepts notifications.",
    "rate_limited": "There were too many within a minute.",
    "refused": "The push service refused it.",
    "unreachable": "The push service could not be reached.",
    "no_sender": "This server is not set up for this kind of device.",
    "other_person": "It is for another person.",
    "too_long": "The card was too long.",
}


@attrs.frozen(kw_only=True)
class Scene:
    """What is known around an alert. `worker`: the delegate or sub-agent that asks; None: the session's own agent."""

    title: str
    agent: str
    event: Event | None
    worker: str | None = None
    badge: int = 0


def short(text: str, most: int) -> str:
    """Return one line of at most `most` characters, with nothing invisible in it."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def card_of(alert: Alert, scene: Scene, detail: Detail, *, ttl_s: int) -> Card:
    """Return the card of an open alert."""
    body = _PLAIN[alert.kind]
    buttons: tuple[str, ...] = ()
    event = scene.event
    if detail != "none":
        body = _body(alert, scene)
    request = event if isinstance(event, PermissionRequested) else None
    if alert.kind == "decision":
        whole = False
        if request is not None and detail == "request" and not _is_special(request):
            text, whole = shown_input(request.input, MAX_INPUT)
            body = f"{body}\n{text}" if whole else body
        buttons = _buttons(request, may_allow=whole)
    title = "BuilderOS" if detail == "none" else short(scene.title or alert.session_id, MAX_TITLE)
    return Card(
        alert_id=alert.alert_id,
        kind=alert.kind,
        session_id=alert.session_id,
        title=title,
        body=body,
        request_id=alert.subject if alert.kind == "decision" else None,
        buttons=buttons,
        ttl_s=ttl_s,
        urgency="high" if alert.kind in ("decision", "unknown", "late") else "normal",
        badge=scene.badge,
    )


def settled_card(
    alert: Alert, title: str, detail: Detail, who: str | None, *, shown: bool, badge: int
) -> Card:
    """Return the card that takes the place of an earlier one. `who`: the name of the one who settled the alert."""
    return Card(
        alert_id=alert.alert_id,
        kind=alert.kind,
        session_id=alert.session_id,
        title="BuilderOS" if detail == "none" else short(title or alert.session_id, MAX_TITLE),
        body=_became(alert, who),
        settled=True,
        ttl_s=OTHER_TTL_S if shown else SETTLED_TTL_S,
        urgency="low",
        badge=badge,
    )


def _body(alert: Alert, scene: Scene) -> str:
    agent = short(scene.worker or scene.agent, MAX_NAME)
    event = scene.event
    if isinstance(event, PermissionRequested):
        if event.about == "question" or event.questions:
            return f"{agent} asks you a question"
        if event.about == "plan":
            return f"{agent} asks you to approve a plan"
        if event.about == "trust":
            return f"{agent} asks whether to trust the folder"
        return f"{agent} asks: {short(event.tool, MAX_NAME)}"
    if alert.kind == "finished":
        return f"{agent} has finished"
    if alert.kind == "failed":
        return f"{agent}: the turn failed"
    if isinstance(event, TaskFinished):
        ended = "failed" if event.state == "failed" else "ended"
        return f"A task in the background {ended}: {short(event.title, MAX_NAME)}"
    if alert.kind == "late" and isinstance(event, Notice):
        return short(event.content, 200)
    return _PLAIN[alert.kind]


def _is_special(request: PermissionRequested) -> bool:
    return request.about in _NEVER_ON_A_CARD or bool(request.questions)


def _buttons(request: PermissionRequested | None, *, may_allow: bool) -> tuple[str, ...]:
    options = () if request is None else request.options
    denying = ("deny",) if "deny" in options else ()
    if may_allow and "allow" in options:
        return ("allow", *denying)
    return (*denying, "open")


def _became(alert: Alert, who: str | None) -> str:
    by = f" by {short(who, MAX_NAME)}" if who else ""
    if alert.kind == "late" and alert.how in _LATE:
        return f"{_LATE[alert.how]}{by}"
    if alert.how in DECIDED:
        return f"{_DECIDED[alert.how]}{by}" if alert.how in _DECIDED else "No longer asked"
    if alert.how == "message":
        return f"Answered{by}"
    if alert.how == "gone":
        return "The session was deleted"
    if alert.how == "continued":
        return "The session went on"
    return "Seen on another device"


def reason_of(delivery: AlertDelivery, kind: str) -> str:
    """Return in a sentence what became of a delivery."""
    if delivery.state in ("skipped", "failed", "dropped"):
        if delivery.reason == "answered_first" and kind == "late":
            return "The message was sent or taken back before anybody had to be notified."
        if delivery.reason == "answered_first" and kind != "decision":
            return "A newer message, or its deletion, settled it before anybody had to be notified."
        return _REASONS.get(delivery.reason or "", "It was not sent.")
    if delivery.state == "planned":
        return (
            _REASONS.get(delivery.reason or "", "It is about to be sent.")
            if delivery.tries
            else "It is about to be sent."
        )
    if delivery.state == "sending":
        return "It is being sent."
    if delivery.state == "sent":
        return "The push service took it; the device has not reported it yet."
    if delivery.state == "shown":
        return "The device showed it."
    if delivery.state == "acted":
        return "Somebody tapped or dismissed it on the device."
    return "It was replaced or removed after somebody settled it."
