"""What the routes beside the conversation work with: files, search, devices, the machine itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import attrs

from actors.ports import Ids
from storage.audit import Audit
from storage.devices import Devices
from storage.notifications import Notifications
from storage.pairings import Pairings
from storage.search import Search
from transport.metrics import Metrics
from transport.uploads import OwnUploads

__all__ = ["Facilities", "Port", "Removes"]


class Removes(Protocol):
    """Removes sessions; the supervisor does."""

    async def remove(self, session_id: str) -> None:
        """Remove a session for good, with its files.

        Raises:
            SessionMissing, SessionBusy, ShuttingDown, StorageUnavailable: nothing was removed, but for the
            last, which may leave something that goes later.
        """
        ...


@attrs.frozen(kw_only=True)
class Facilities:
    """See the module.

    Attributes:
        data: the data folder, for blobs.
        sleep: puts the machine to sleep, and tells whether that worked; None where nobody said how.
        more_metrics: figures of other parts, in the text form of Prometheus.
    """

    data: Path
    workspace: Path
    uploads: OwnUploads
    search: Search
    notifications: Notifications
    devices: Devices
    pairings: Pairings
    audit: Audit
    sessions: Removes
    metrics: Metrics
    new_id: Ids
    new_key: Callable[[], str] = attrs.field(repr=False)
    new_code: Callable[[], str] = attrs.field(repr=False)
    sleep: Callable[[], Awaitable[bool]] | None = None
    more_metrics: Callable[[], list[str]] = list


@attrs.frozen(kw_only=True)
class Port:
    """What routes know of the port that they are served on.

    Attributes:
        counts: open WebSockets by agent.
        gauges: how full the port is, by name.
        close_device: closes the connections of a device whose key was revoked. Never blocks.
    """

    counts: Callable[[], dict[str, int]]
    gauges: Callable[[], dict[str, int]] = dict
    close_device: Callable[[str], None] = lambda _: None
