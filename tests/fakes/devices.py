"""Devices and their keys, in memory."""

from __future__ import annotations

import attrs

__all__ = ["FakeDevice", "FakeDevices"]


@attrs.frozen
class FakeDevice:
    """A device and its key."""

    id: str
    name: str
    scope: str
    key: str = attrs.field(repr=False)


@attrs.define(eq=False)
class FakeDevices:
    """See `transport.ports.Devices`."""

    by_key: dict[str, FakeDevice] = attrs.field(factory=dict)
    labels: dict[str, str] = attrs.field(factory=dict)

    def add(self, id: str, scope: str = "admin") -> FakeDevice:  # noqa: A002
        device = FakeDevice(id, id.title(), scope, f"key-of-{id}")
        self.by_key[device.key] = device
        self.labels[id] = id
        return device

    def find(self, key: str) -> FakeDevice | None:
        return self.by_key.get(key)

    async def claim_label(self, label: str, device_id: str) -> bool:
        return self.labels.setdefault(label, device_id) == device_id
