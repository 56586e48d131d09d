"""What a service's answer means for a delivery and for its channel. Pure."""

from __future__ import annotations

from typing import Final

from storage.tables.notifications.alerts import Alert
from storage.tables.notifications.deliveries import DeliveryOutcome
from transport.push.senders.sending import ServiceAnswer
from transport.push.words import DECISION_TTL_S, OTHER_TTL_S

__all__ = ["RETRY_S", "channel_state", "give_up_ms", "outcome_of", "ttl_s"]

RETRY_S: Final = (2, 8, 30, 120)
"""Seconds until each further try if a service cannot be reached."""

BUSY_S: Final = 30
MAX_BUSY_S: Final = 3600

MAX_PROBLEM: Final = 200
"""Characters of a service's own words that are kept."""


def give_up_ms(alert: Alert, permission_timeout_s: float | None) -> int:
    """Return when an alert is too old to be sent."""
    if alert.kind == "decision":
        return alert.raised_at_ms + int(1000 * (permission_timeout_s or DECISION_TTL_S))
    return alert.raised_at_ms + 1000 * OTHER_TTL_S


def ttl_s(alert: Alert, permission_timeout_s: float | None, now_ms: int) -> int:
    """Return how long a service may keep a card for a device that is away."""
    return max(0, (give_up_ms(alert, permission_timeout_s) - now_ms) // 1000)


def outcome_of(answer: ServiceAnswer, tries: int, now_ms: int) -> DeliveryOutcome:
    """Return what became of a delivery after its try number `tries`."""
    status = answer.status
    if status is None:
        if tries > len(RETRY_S):
            return DeliveryOutcome("failed", "unreachable")
        due = now_ms + 1000 * RETRY_S[tries - 1]
        return DeliveryOutcome("sending" if answer.maybe else "planned", "unreachable", None, due)
    if 200 <= status < 300:
        return DeliveryOutcome("sent", status=status)
    if status in (404, 410):
        return DeliveryOutcome("failed", "gone", status)
    if status == 413:
        return DeliveryOutcome("failed", "too_long", status)
    if status == 429 or status >= 500:
        return DeliveryOutcome("planned", "unreachable", status, now_ms + 1000 * _busy_s(answer, tries))
    return DeliveryOutcome("failed", "refused", status)


def channel_state(answer: ServiceAnswer, now_ms: int) -> tuple[str, str | None, int | None] | None:
    """Return the state of a channel, its problem, and until when to leave it alone; None if nothing is wrong."""
    status = answer.status
    if status is None or 200 <= status < 300 or status == 413:
        return None
    if status in (404, 410):
        return "gone", "The device no longer accepts notifications.", None
    if status == 429 or status >= 500:
        return "live", None, now_ms + 1000 * _busy_s(answer, 1)
    words = " ".join(answer.text.split())[:MAX_PROBLEM]
    return "failing", f"The push service refused it ({status}): {words}", None


def _busy_s(answer: ServiceAnswer, tries: int) -> int:
    return min(MAX_BUSY_S, answer.retry_s if answer.retry_s is not None else BUSY_S * 2 ** min(tries - 1, 6))
