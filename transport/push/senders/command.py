"""A program of the person's own: it gets each card as one line of JSON on its standard input."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Final

import attrs
import orjson
import trio

from storage.tables.notifications.channels import Channel
from transport.push.senders.sending import Card, ServiceAnswer
from transport.push.settings import CommandSettings

__all__ = ["CommandSender", "line_of"]

LIMIT_S: Final = 30.0
"""How long the program may take; then it is killed."""


def line_of(card: Card) -> bytes:
    """Return the JSON of a card."""
    fields = {
        "alert_id": card.alert_id,
        "kind": card.kind,
        "state": "settled" if card.settled else "open",
        "session_id": card.session_id,
        "request_id": card.request_id,
        "title": card.title,
        "body": card.body,
        "repeat": card.repeat,
    }
    return orjson.dumps(fields) + b"\n"


@attrs.frozen
class CommandSender:
    """Runs the programs of the config, by the names of their tables. `environment`: of the programs."""

    settings: Mapping[str, CommandSettings]
    environment: Mapping[str, str] = attrs.field(repr=False)

    async def send(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Implements `transport.push.senders.sending.Sender`. The exit status 0 counts as sent."""
        found = self.settings.get(channel.label)
        if found is None:
            return ServiceAnswer(None, "the config has no such command")
        try:
            with trio.move_on_after(LIMIT_S) as limit:
                done = await trio.run_process(
                    found.command,
                    stdin=line_of(card),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=dict(self.environment),
                    check=False,
                    start_new_session=True,
                )
        except OSError as error:
            return ServiceAnswer(None, f"it cannot be started: {error.strerror}")
        if limit.cancelled_caught:
            return ServiceAnswer(None, f"it ran longer than {LIMIT_S:.0f} s", maybe=True)
        if done.returncode == 0:
            return ServiceAnswer(200)
        return ServiceAnswer(None, f"it ended with status {done.returncode}", maybe=True)
