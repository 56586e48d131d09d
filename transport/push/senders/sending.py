"""What is sent, and what a service answers, for every kind of channel."""

from __future__ import annotations

from typing import Literal, Protocol

import attrs

from storage.tables.notifications.channels import Channel

__all__ = ["Card", "Sender", "ServiceAnswer", "Urgency"]

Urgency = Literal["high", "normal", "low"]


@attrs.frozen(kw_only=True)
class Card:
    """One card.

    Attributes:
        kind: of its alert, or `test`.
        title, body: what a person reads.
        buttons: some of `allow`, `deny`, `open`.
        settled: it takes the place of an earlier one, silently, and says what became of that.
        repeat: it may be shown already; then it must make no sound.
        ttl_s: how long a service may keep it for a device that is away.
        badge: how many decisions wait.
    """

    alert_id: str
    kind: str
    session_id: str
    title: str
    body: str
    request_id: str | None = None
    buttons: tuple[str, ...] = ()
    settled: bool = False
    repeat: bool = False
    ttl_s: int = 3600
    urgency: Urgency = "normal"
    badge: int = 0


@attrs.frozen
class ServiceAnswer:
    """A service's answer.

    Attributes:
        status: None if there was no answer.
        text: the answer's, or why there is none. It may be hostile: only shown to the channel's owner.
        retry_s: how long the service wants to be left alone.
        maybe: without a status: the request may have arrived.
    """

    status: int | None
    text: str = ""
    retry_s: int | None = None
    maybe: bool = False


class Sender(Protocol):
    """Sends cards to the channels of one kind."""

    async def send(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Send one card. Raises nothing but Cancelled."""
        ...
