"""What the two tasks of notifications see of the rest of the server."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import attrs

from actors.events.codec import decode_row
from actors.events.permissions import PermissionRequested
from actors.events.work import TaskStarted
from actors.ports import Clock, Ids
from storage.errors import SessionMissing
from storage.store import Notified
from storage.tables.devices import DeviceTable
from storage.tables.notifications.alerts import Alert
from storage.tables.notifications.channels import Channel
from transport.access.auth import authorize
from transport.ports import Deps
from transport.push.attention import Attention
from transport.push.routing_state import ChannelPlace, World, asks, want_of
from transport.push.settings import PushSettings
from transport.push.words import Scene

__all__ = ["Surroundings"]

TASK_ROWS: Final = 200

ASKING: Final = frozenset({"decision", "unknown", "late"})


@attrs.define(eq=False)
class Surroundings:
    """What consumer and courier use.

    Attributes:
        sendable: the kinds of channels that this server can send to.
    """

    deps: Deps
    tables: Notified
    devices: DeviceTable
    settings: PushSettings
    attention: Attention
    clock: Clock
    new_id: Ids
    sendable: Collection[str]

    def may_decide(self, key_id: str) -> bool:
        """Return whether a key may answer requests; the channels of the config are the owner's."""
        if not key_id:
            return True
        device = self.devices.get(key_id)
        return device is not None and authorize(device.scope, "decide")

    def is_watched(self, alert: Alert) -> bool:
        """Return whether somebody who may settle the alert looks at its session."""
        keys = self.attention.watchers(alert.session_id)
        return any(self.may_decide(key_id) or not asks(alert.kind) for key_id in keys)

    def refusal(self, alert: Alert, channel: Channel, person: str | None) -> str | None:
        """Return why a channel is never notified of an alert; None if it may be notified."""
        if channel.state in ("asleep", "gone"):
            return channel.state
        if channel.kind not in self.sendable:
            return "no_sender"
        if person is not None and channel.owner and channel.person != person:
            return "other_person"
        if alert.kind == "decision" and not self.may_decide(channel.owner):
            return "no_right"
        return None if channel.wants_kind(want_of(alert.kind)) else "not_wanted"

    async def world(self, alert: Alert) -> World:
        """Return what the ladder needs to know of this moment."""
        now_ms = self.clock()
        channels = await self.tables.channels.listing()
        person = await self._person_of(alert)
        places = [
            ChannelPlace(
                channel.channel_id,
                channel.label,
                self.refusal(alert, channel, person),
                self.settings.is_fallback(channel.kind, channel.label),
            )
            for channel in channels
        ]
        record = await self.deps.catalog.get(alert.session_id)
        active = self._active(channels)
        return World(
            now_ms=now_ms,
            places=places,
            watched=self.is_watched(alert),
            runs=record is not None and record.summary is not None and record.summary.state == "running",
            active=active or ([alert.author] if alert.author is not None else []),
            quiet_until_ms=None if self.settings.quiet is None else self.settings.quiet.until_ms(now_ms),
            escalate_ms=int(self.settings.escalate_s * 1000),
            fallback_ms=int(self.settings.fallback_s * 1000),
        )

    def _active(self, channels: list[Channel]) -> list[str]:
        """Return labels, the one that was active last first. A page that shows no session is known by its key only."""
        recent = sorted(channels, key=lambda one: -one.seen_at_ms)
        found: list[str] = []
        for label in self.attention.active():
            found += [label, *(one.label for one in recent if one.owner == label)]
        return found

    async def _person_of(self, alert: Alert) -> str | None:
        return None if alert.author is None else await self.tables.channels.person_of(alert.author)

    async def scene(self, alert: Alert) -> Scene | None:
        """Return what a card says about an alert; None if its session is gone."""
        record = await self.deps.catalog.get(alert.session_id)
        if record is None:
            return None
        try:
            rows = await self.deps.journal.read(alert.session_id, alert.seq - 1, 1)
        except SessionMissing:
            return None
        event = decode_row(rows[0]).event if rows and rows[0].seq == alert.seq else None
        worker = None
        if isinstance(event, PermissionRequested) and event.task_id is not None:
            worker = await self._worker(alert.session_id, event.task_id)
        title = record.summary.title if record.summary is not None else ""
        return Scene(
            title=title, agent=record.agent_type, event=event, worker=worker, badge=await self.badge()
        )

    async def badge(self) -> int:
        """Return how many alerts wait for somebody's word."""
        return await self.tables.alerts.count_asking(ASKING)

    async def _worker(self, session_id: str, task_id: str) -> str:
        """Return the name of the delegate or sub-agent of a task."""
        rows = await self.deps.journal.read(session_id, 0, TASK_ROWS, kinds={TaskStarted.kind}, newest=True)
        for event in (decode_row(row).event for row in rows):
            if isinstance(event, TaskStarted) and event.task_id == task_id:
                return f"{event.agent_type} ({event.title})"
        return "a sub-agent"

    def name_of(self, label: str | None) -> str | None:
        """Return the name for people of the one who settled something: a label, or its device's name."""
        if label is None:
            return None
        device = self.devices.get(label)
        return label.replace("-", " ") if label == "time-limit" else label if device is None else device.name

    def tell(self, alert: Alert, state: str) -> None:
        """Send the frame `alert` to all open pages."""
        fields: dict[str, Any] = {
            "alert_id": alert.alert_id,
            "kind": alert.kind,
            "session_id": alert.session_id,
            "state": state,
        }
        if alert.kind == "decision":
            fields["request_id"] = alert.subject
        if alert.by_device is not None:
            fields["by_device"] = alert.by_device
        self.attention.tell(fields)
