"""ntfy: a card as a message of a topic. Its server reads along, so the card says little unless the config wants more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

import attrs
import orjson

from actors.ports import Clock
from storage.tables.notifications.channels import Channel
from transport.access.signed_urls import BUTTON_MS, ButtonAct, button_address
from transport.push.senders.sending import Card, ServiceAnswer
from transport.push.senders.services import Services
from transport.push.settings import NtfySettings

__all__ = ["MAX_BYTES", "Buttons", "Ntfy", "Topic"]

_PRIORITY: Final = {"high": 4, "normal": 3, "low": 2}

MAX_BYTES: Final = 4_000
"""Of a message. Servers take 4,096 by default, and make a longer one a file that its card does not show."""

_OLD_SERVER: Final = "this ntfy server is older than 2.16 and cannot replace messages"


@attrs.frozen
class Topic:
    """One topic: its settings, and the token that its server wants."""

    settings: NtfySettings
    token: str | None = attrs.field(default=None, repr=False)

    @property
    def place(self) -> tuple[str, str]:
        """The server's address and the topic."""
        base, _, topic = self.settings.url.rstrip("/").rpartition("/")
        return base, topic


@attrs.frozen
class Buttons:
    """What a card can be tapped for. `origin`: where devices reach this server; `secret`: what signs answers."""

    origin: str
    secret: str = attrs.field(repr=False)
    clock: Clock

    def link(self, card: Card) -> str:
        """Return the address of the card's session in the web client; of the list for a card of none."""
        return f"{self.origin}/#/s/{quote(card.session_id)}" if card.session_id else f"{self.origin}/"

    def actions(self, channel: Channel, card: Card) -> list[dict[str, Any]]:
        """Return the buttons of a card, as ntfy takes them."""
        if card.request_id is None or card.repeat:
            return []
        return [self._action(name, card.request_id, channel, card) for name in card.buttons]

    def _action(self, name: str, request_id: str, channel: Channel, card: Card) -> dict[str, Any]:
        if name == "open":
            return {"action": "view", "label": "Open", "url": self.link(card), "clear": False}
        until_ms = self.clock() + min(BUTTON_MS, card.ttl_s * 1000)
        act = ButtonAct(channel.channel_id, card.session_id, request_id, cast("Any", name), until_ms)
        url = button_address(act, self.origin, self.secret)
        return {"action": "http", "label": name.title(), "url": url, "method": "POST", "clear": True}


@attrs.frozen
class Ntfy:
    """Sends cards to topics, by the names of their tables. `buttons`: None if the config does not name the server's
    address.
    """

    services: Services
    topics: Mapping[str, Topic]
    buttons: Buttons | None = None

    async def send(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Implements `transport.push.senders.sending.Sender`."""
        topic = self.topics.get(channel.label)
        if topic is None:
            return ServiceAnswer(None, "the config has no such topic")
        if len(card.body.encode()) > MAX_BYTES:
            return ServiceAnswer(413, "the message is too long")
        base, name = topic.place
        headers = {"Host": urlsplit(base).netloc, "Content-Type": "application/json"}
        if topic.token is not None:
            headers["Authorization"] = f"Bearer {topic.token}"
        if card.settled:
            return await self.services.request("PUT", f"{base}/{name}/{card.alert_id}/clear", headers)
        body: dict[str, Any] = {
            "topic": name,
            "title": card.title,
            "message": card.body,
            "priority": 1 if card.repeat else _PRIORITY[card.urgency],
            "sequence_id": card.alert_id,
        }
        if self.buttons is not None:
            body["click"] = self.buttons.link(card)
            if topic.settings.actions:
                body["actions"] = self.buttons.actions(channel, card)
        answer = await self.services.request("POST", f"{base}/", headers, orjson.dumps(body))
        if answer.status == 200 and card.alert_id not in answer.text:
            return attrs.evolve(answer, text=_OLD_SERVER)
        return answer
