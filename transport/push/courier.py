"""Carries cards to services, and stores what became of each.

`sending` is stored before each request. So a crash leaves at most a card that may have been sent. It is sent once more,
without a sound. Right before each request the alert is read again: a card that nobody needs any more is not sent.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping
from typing import Final

import attrs
import trio

from storage.errors import StorageError
from storage.tables.notifications.channels import Channel
from storage.tables.notifications.deliveries import DeliveryOutcome, Due
from transport.push.outcomes import RETRY_S, channel_state, give_up_ms, outcome_of, ttl_s
from transport.push.senders.sending import Card, Sender, ServiceAnswer
from transport.push.words import card_of, settled_card
from transport.push.world import Surroundings

__all__ = ["Courier"]

AT_ONCE: Final = 8
"""Requests at the same time."""

LOOK_AHEAD: Final = 64

STORAGE_S: Final = 5.0

CARDS_A_MINUTE: Final = 20
"""Cards to one channel; what is more becomes one card that says so."""

MINUTE_MS: Final = 60_000
WATCHED_AGAIN_MS: Final = 15_000
SILENT_CARDS: Final = 3
NOT_SHOWN: Final = (
    "Its last notifications were not shown. Turn notifications off and on again on this device."
)

logger = logging.getLogger("builderos.transport")


@attrs.define(eq=False)
class Courier:
    """The task. `senders`: by kind of channel."""

    around: Surroundings
    senders: Mapping[str, Sender]
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _busy: set[tuple[str, str]] = attrs.field(factory=set)
    _recent: dict[str, deque[int]] = attrs.field(factory=dict)
    _withdrawals: dict[tuple[str, str], int] = attrs.field(factory=dict)

    def wake(self) -> None:
        """Look again: something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Send and withdraw until cancelled."""
        async with trio.open_nursery() as nursery:
            recalled = False
            while True:
                self._wake = trio.Event()
                try:
                    if not recalled:
                        await self.around.tables.deliveries.recall(self.around.clock())
                        recalled = True
                    wait_s = await self._start(nursery)
                except StorageError as error:
                    logger.warning("notifications: the database fails: %s", error)
                    wait_s = STORAGE_S
                with trio.move_on_after(wait_s):
                    await self._wake.wait()

    async def _start(self, nursery: trio.Nursery) -> float:
        """Start what is due; return how long until the next is."""
        rows = await self.around.tables.deliveries.due(LOOK_AHEAD + len(self._busy))
        for due in [one for one in rows if one.key not in self._busy]:
            left_ms = due.due_at_ms - self.around.clock()
            if left_ms > 0:
                return left_ms / 1000
            if len(self._busy) >= AT_ONCE:
                return math.inf  # the end of one wakes this task
            self._busy.add(due.key)
            nursery.start_soon(self._carry, due)
        return math.inf

    async def _carry(self, due: Due) -> None:
        try:
            await self.deliver(due)
        except StorageError as error:
            logger.warning("alert %s: what became of its card is not stored: %s", due.alert.alert_id, error)
            await trio.sleep(STORAGE_S)
        finally:
            self._busy.discard(due.key)
            self._wake.set()

    async def deliver(self, due: Due) -> None:
        """Send or withdraw one card."""
        channels = await self.around.tables.channels.listing()
        channel = next((one for one in channels if one.channel_id == due.channel_id), None)
        refusal = self._refusal(due, channel)
        if channel is None or refusal is not None:
            await self._end(due, DeliveryOutcome("dropped", refusal))
        elif due.alert.settled_at_ms is not None:
            await self._withdraw(due, channel)
        elif not await self._postpone(due, channel):
            await self._send(due, channel)

    def _refusal(self, due: Due, channel: Channel | None) -> str | None:
        if channel is None:
            return "gone"
        if channel.kind not in self.senders:
            return "no_sender"
        if due.alert.settled_at_ms is not None:
            return channel.state if channel.state in ("gone", "asleep") else None
        if self.around.clock() >= give_up_ms(due.alert, self.around.settings.permission_timeout_s):
            return "too_old"
        return self.around.refusal(due.alert, channel, None)

    async def _postpone(self, due: Due, channel: Channel) -> bool:
        """Put a card off that must not be sent now; return whether it was."""
        now_ms, until_ms, reason = self.around.clock(), 0, ""
        quiet = self.around.settings.quiet
        quiet_ms = None if quiet is None else quiet.until_ms(now_ms)
        if quiet_ms is not None:
            until_ms, reason = quiet_ms, "quiet_hours"
        elif due.tries and self.around.is_watched(due.alert):
            until_ms, reason = now_ms + WATCHED_AGAIN_MS, "watching"
        elif channel.retry_at_ms is not None and channel.retry_at_ms > now_ms:
            until_ms, reason = channel.retry_at_ms, "unreachable"
        if reason:
            await self.around.tables.deliveries.later(due, until_ms, reason)
        return bool(reason)

    async def _send(self, due: Due, channel: Channel) -> None:
        around = self.around
        scene = await around.scene(due.alert)
        if scene is None:
            await self._end(due, DeliveryOutcome("dropped", "gone"))
            return
        allowed, first = self._count(channel)
        if not allowed:
            await self._end(due, DeliveryOutcome("dropped", "rate_limited"))
            if first:
                await self.senders[channel.kind].send(channel, many(due))
            return
        left_s = ttl_s(due.alert, around.settings.permission_timeout_s, around.clock())
        detail = around.settings.detail_of(channel.kind, channel.label)
        card = card_of(due.alert, scene, detail, ttl_s=left_s)
        if not await around.tables.deliveries.begin(due):
            return  # settled in the meantime
        repeated = due.tries > 0 and due.state == "sending"
        answer = await self._ask(channel, attrs.evolve(card, repeat=repeated))
        await self._end(due, outcome_of(answer, due.tries + 1, around.clock()))
        await self._note(channel, answer)

    async def _ask(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Send a card; a card that is too long with the request's input is sent without it."""
        sender = self.senders[channel.kind]
        answer = await sender.send(channel, card)
        if answer.status == 413 and "\n" in card.body:
            buttons = tuple(one for one in card.buttons if one != "allow")
            body = card.body.partition("\n")[0]
            answer = await sender.send(channel, attrs.evolve(card, body=body, buttons=(*buttons, "open")))
        return answer

    async def _withdraw(self, due: Due, channel: Channel) -> None:
        around = self.around
        record = await around.deps.catalog.get(due.alert.session_id)
        title = record.summary.title if record is not None and record.summary is not None else ""
        detail = around.settings.detail_of(channel.kind, channel.label)
        badge = (await around.badge()) if channel.kind in ("web", "apns") else 0
        who = around.name_of(due.alert.by_device)
        card = settled_card(due.alert, title, detail, who, shown=due.shown_at_ms is not None, badge=badge)
        answer = await self.senders[channel.kind].send(channel, card)
        tries = self._withdrawals.pop(due.key, 0)
        if answer.status is not None and 200 <= answer.status < 300:
            await self._end(due, DeliveryOutcome("withdrawn", status=answer.status))
        elif answer.status in (404, 410) or tries >= len(RETRY_S):
            await self._end(due, DeliveryOutcome("failed", "unreachable", answer.status))
        else:
            self._withdrawals[due.key] = tries + 1
            wait_ms = int(1000 * max(RETRY_S[tries], answer.retry_s or 0))
            await around.tables.deliveries.later(due, around.clock() + wait_ms, "unreachable")

    async def _end(self, due: Due, outcome: DeliveryOutcome) -> None:
        await self.around.tables.deliveries.end(due.key, outcome, self.around.clock())

    async def _note(self, channel: Channel, answer: ServiceAnswer) -> None:
        """Store how the channel is, if the answer changes that."""
        channels, now_ms = self.around.tables.channels, self.around.clock()
        found = channel_state(answer, now_ms)
        if found is not None:
            state, problem, retry_at_ms = found
            if (state, problem, retry_at_ms) != (channel.state, channel.problem, channel.retry_at_ms):
                logger.info(
                    "channel %s (%s): %s, status %s", channel.channel_id, channel.kind, state, answer.status
                )
                await channels.mark(channel.channel_id, state, problem, retry_at_ms)
        elif channel.state == "failing" and answer.status is not None:
            await channels.mark(channel.channel_id, "live", None)
        elif channel.kind == "web" and channel.label in self.around.attention.active():
            silent = await self.around.tables.deliveries.silent(
                channel.channel_id, now_ms - MINUTE_MS, SILENT_CARDS
            )
            if silent >= SILENT_CARDS and channel.problem is None:
                await channels.mark(channel.channel_id, "live", NOT_SHOWN)

    def _count(self, channel: Channel) -> tuple[bool, bool]:
        """Count a card; return whether it may be sent, and otherwise whether it is the first that may not."""
        now_ms = self.around.clock()
        recent = self._recent.setdefault(channel.channel_id, deque())
        while recent and recent[0] <= now_ms - MINUTE_MS:
            recent.popleft()
        recent.append(now_ms)
        return len(recent) <= CARDS_A_MINUTE, len(recent) == CARDS_A_MINUTE + 1


def many(due: Due) -> Card:
    """Return the card that says that there are more."""
    return Card(
        alert_id="many",
        kind="many",
        session_id="",
        title="BuilderOS",
        body="More sessions need you. Open the list.",
        urgency="high" if due.alert.kind == "decision" else "normal",
    )
