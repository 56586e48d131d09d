"""Consumer and courier on a real database, with a clock and services of the test's own, driven step by step."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import attrs

from actors.events.codec import encode_entry
from actors.events.committed import Committed, Event
from actors.events.permissions import PermissionRequested, PermissionResolved
from storage.records import NewSession, Summary
from storage.store import Store
from storage.tables.notifications.alerts import Alert
from storage.tables.notifications.channels import Channel, NewChannel
from storage.tables.notifications.deliveries import AlertDelivery
from tests.fakes.bus import FakeServer
from tests.storage.stores import NOW_MS, opened
from transport.push.attention import Attention
from transport.push.consumer import AlertConsumer
from transport.push.courier import Courier
from transport.push.senders.sending import Card, ServiceAnswer
from transport.push.settings import PushSettings
from transport.push.world import Surroundings

__all__ = ["Rig", "Service", "asked", "open_rig"]


@attrs.define(eq=False)
class Service:
    """Keeps what it is sent. `answer`: what it says to the next card."""

    cards: list[tuple[str, Card]] = attrs.field(factory=list)
    answer: ServiceAnswer = attrs.field(factory=lambda: ServiceAnswer(201))
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None

    async def send(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Implements `transport.push.senders.sending.Sender`."""
        self.before()
        if self.answer.status is not None or self.answer.maybe:
            self.cards.append((channel.channel_id, card))
        self.after()
        return self.answer

    def of(self, channel_id: str) -> list[Card]:
        """Return the cards of a channel."""
        return [card for name, card in self.cards if name == channel_id]


def asked(request_id: str = "r1", tool: str = "Bash") -> PermissionRequested:
    """Return a request."""
    return PermissionRequested(request_id, tool, {"command": "ls"}, ("allow", "deny"), about="command")


@attrs.define(eq=False)
class Rig:
    """One server's notifications."""

    store: Store
    settings: PushSettings
    service: Service = attrs.field(factory=Service)
    now_ms: int = NOW_MS
    told: list[dict[str, object]] = attrs.field(factory=list)
    attention: Attention = attrs.field(init=False)
    _listening: AbstractContextManager[None] = attrs.field(init=False)
    consumer: AlertConsumer = attrs.field(init=False)
    courier: Courier = attrs.field(init=False)
    ids: Callable[[], str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        numbers = itertools.count(1)
        self.ids = lambda: f"{next(numbers):032x}"
        self.restart()

    def restart(self) -> None:
        """Make the tasks again, as the next server does: only what is stored is left."""
        self.attention = Attention(lambda: self.now_ms)
        self._listening = self.attention.listen(self.told.append)
        self._listening.__enter__()
        deps = attrs.evolve(
            FakeServer().deps(),
            catalog=self.store.catalog,
            journal=self.store.journal,
            attention=self.attention,
        )
        around = Surroundings(
            deps,
            self.store.notifications,
            self.store.devices,
            self.settings,
            self.attention,
            lambda: self.now_ms,
            self.ids,
            frozenset({"web"}),
        )
        self.consumer = AlertConsumer(around, lambda: None)
        self.courier = Courier(around, {"web": self.service})

    async def add(self, label: str, scope: str = "admin", **more: object) -> str:
        """Add a device with a key and a channel of its own; return the channel."""
        await self.store.devices.add(name=label, scope=scope, key=label, device_id=label, now_ms=1)
        channel = NewChannel(
            channel_id=f"c-{label}",
            kind="web",
            owner=label,
            label=label,
            address=label,
            keys=b"{}",
            **more,  # type: ignore[arg-type]
        )
        found = await self.store.notifications.channels.register(channel, self.now_ms)
        assert found is not None
        return found

    async def journal(
        self, *events: Event, session_id: str = "trip", by: str | None = None, turn_id: str | None = "t1"
    ) -> int:
        """Append events to a session, which is made if it is not there; return the last seq."""
        if await self.store.catalog.get(session_id) is None:
            await self.store.catalog.create(NewSession(session_id, "echo", "mac", b"{}", self.now_ms))
        grant = await self.store.ownership.acquire(session_id)
        entries = [
            encode_entry(Committed(grant.seq + at, grant.seq + at, self.now_ms, turn_id, by, event))
            for at, event in enumerate(events, start=1)
        ]
        summary = Summary("Trip", "idle", 0, 0, False, b"", None, 0)
        seq = await self.store.journal.append(grant, grant.seq, entries, durable=False, summary=summary)
        self.consumer.changed(session_id)
        return seq

    async def pass_time(self, seconds: float = 0.0) -> None:
        """Let time pass, then let both tasks do what is due."""
        self.now_ms += int(seconds * 1000)
        await self.consumer.turn()
        await self.carry()

    async def carry(self) -> None:
        """Have the courier do all that is due by now."""
        for due in await self.store.notifications.deliveries.due(1000):
            if due.due_at_ms <= self.now_ms:
                await self.courier.deliver(due)

    async def resolve(self, request_id: str = "r1", by: str = "ipad") -> None:
        """Have somebody allow a request."""
        await self.journal(PermissionResolved(request_id, "allow", by))

    async def why(self) -> list[tuple[Alert, dict[str, AlertDelivery]]]:
        """Return all alerts, newest first, with their deliveries by channel."""
        found = await self.store.notifications.deliveries.why(None, None, 500)
        return [(alert, {one.channel_id: one for one in deliveries}) for alert, deliveries in found]

    async def states(self) -> dict[str, tuple[str, str | None]]:
        """Return state and reason of the newest alert's deliveries by channel."""
        return {name: (one.state, one.reason) for name, one in (await self.why())[0][1].items()}


@asynccontextmanager
async def open_rig(folder: Path, settings: PushSettings | None = None) -> AsyncIterator[Rig]:
    """Make one on a new database, which has read all journals to their end."""
    async with opened(folder / "x.db") as store:
        rig = Rig(store, settings or PushSettings())
        await rig.consumer.begin()
        yield rig
