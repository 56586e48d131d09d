"""ntfy: a card as a message of a topic. Its server reads along, so the card says little unless the config wants more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import attrs
import orjson

from storage.tables.notifications.channels import Channel
from transport.push.senders.sending import Card, ServiceAnswer
from transport.push.senders.services import Services
from transport.push.settings import NtfySettings

__all__ = ["Ntfy", "Topic"]

_PRIORITY: Final = {"high": 4, "normal": 3, "low": 2}

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
class Ntfy:
    """Sends cards to topics, by the names of their tables."""

    services: Services
    topics: Mapping[str, Topic]

    async def send(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Implements `transport.push.senders.sending.Sender`."""
        topic = self.topics.get(channel.label)
        if topic is None:
            return ServiceAnswer(None, "the config has no such topic")
        base, name = topic.place
        headers = {"Host": urlsplit(base).netloc, "Content-Type": "application/json"}
        if topic.token is not None:
            headers["Authorization"] = f"Bearer {topic.token}"
        if card.settled:
            return await self.services.request("PUT", f"{base}/{name}/{card.alert_id}/clear", headers)
        body = {
            "topic": name,
            "title": card.title,
            "message": card.body,
            "priority": 1 if card.repeat else _PRIORITY[card.urgency],
            "sequence_id": card.alert_id,
        }
        answer = await self.services.request("POST", f"{base}/", headers, orjson.dumps(body))
        if answer.status == 200 and card.alert_id not in answer.text:
            return attrs.evolve(answer, text=_OLD_SERVER)
        return answer
