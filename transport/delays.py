"""How long what was committed takes to each device: until the socket takes it, and until the device shows it.

A record belongs to a device's label, as `presence` shows it. A device chooses its labels, so their number has a bound,
for each key too. A record is plain numbers on one thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final, Protocol

import attrs

from transport.metrics import Histogram

__all__ = [
    "MAX_LABELS",
    "MAX_LABELS_OF_A_KEY",
    "PAINTED_EVERY_S",
    "DelayedWriter",
    "DeviceDelays",
    "DeviceRecord",
]

MAX_LABELS: Final = 100
"""Labels that have a record: each is about forty lines of `/metrics`."""

MAX_LABELS_OF_A_KEY: Final = 16
"""Of these, labels of one key, so that no key can push all others out."""

COUNTED: Final = 8
"""Connections of one label that are asked for what waits: that is a call of the system for each."""

PAINTED_EVERY_S: Final = 2.0
"""A report of a device counts this long after the last one that counted, whatever session it is about."""


class DelayedWriter(Protocol):
    """A connection's writer."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the device."""
        ...


@attrs.define(eq=False)
class DeviceRecord:
    """What is known of one label since the server's start.

    Attributes:
        key_id: the device of the key.
        name: that device's name for people.
        write_s: from a commit until the socket took it, for each write that had events.
        paint_s: from the moment of journalling until the device showed it, as the device reports.
        joined: pieces that came in the frame of an earlier one.
        connects: connections that it had.
    """

    label: str
    key_id: str
    name: str
    write_s: Histogram = attrs.field(factory=Histogram)
    paint_s: Histogram = attrs.field(factory=Histogram)
    joined: int = 0
    connects: int = 0
    _connections: dict[DelayedWriter, None] = attrs.field(factory=dict)
    _painted_at: float = -PAINTED_EVERY_S

    @property
    def connections(self) -> Collection[DelayedWriter]:
        """The writers of its connections now."""
        return self._connections.keys()

    @property
    def reconnects(self) -> int:
        """Connections after the first one."""
        return max(0, self.connects - 1)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for it now, on its oldest `COUNTED` connections."""
        return sum(one.waiting_bytes for one in islice(self._connections, COUNTED))

    def enter(self, connection: DelayedWriter) -> None:
        """Note that a connection uses this label. Idempotent."""
        if connection not in self._connections:
            self._connections[connection] = None
            self.connects += 1

    def leave(self, connection: DelayedWriter) -> None:
        """Note that a connection has ended. Idempotent."""
        self._connections.pop(connection, None)

    def painted(self, now: float, ms: int) -> None:
        """Count a report of the device, if it is not too soon after the last one."""
        if now - self._painted_at >= PAINTED_EVERY_S:
            self._painted_at = now
            self.paint_s.observe(ms / 1000)


@attrs.define(eq=False)
class DeviceDelays:
    """The records of one server. Call everything on the event loop; nothing blocks."""

    _records: dict[str, DeviceRecord] = attrs.field(factory=dict)

    def __iter__(self) -> Iterator[DeviceRecord]:
        """Return all records, the label that attached last at the end."""
        return iter(self._records.values())

    def of(self, key_id: str, name: str, label: str) -> DeviceRecord:
        """Return the record of a label that attaches just now.

        If there are too many, the one that attached longest ago and is not connected makes room; if there is none, the
        new record is not listed.
        """
        known = self._records.pop(label, None)
        if known is None or known.key_id != key_id:
            known = DeviceRecord(label, key_id, name)
            own = [one for one in self._records.values() if one.key_id == key_id]
            if len(own) >= MAX_LABELS_OF_A_KEY and not self._drop_one(own):
                return known
            if len(self._records) >= MAX_LABELS and not self._drop_one(list(self._records.values())):
                return known
        self._records[label] = known
        return known

    def _drop_one(self, among: Collection[DeviceRecord]) -> bool:
        for one in among:
            if not one.connections:
                del self._records[one.label]
                return True
        return False
