"""Who may come back without a key (PROTOCOL section 4, rule 9), and how often it may be tried. No I/O of its own."""

from __future__ import annotations

import re
from typing import Final

import attrs

from actors.ports import Clock
from transport.auth import authorize
from transport.ios.wire import ChatFrame
from transport.ports import AppPorts, Device
from transport.tries import Tries

__all__ = ["PAIR_MS", "Resumption", "holds_uuid"]

PAIR_MS: Final = 7 * 24 * 3600 * 1000
"""How long a pair counts after its last use with a key."""

_UUID: Final = re.compile(
    r"(?<![0-9a-fA-F])[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?![0-9a-fA-F])"
)


def holds_uuid(text: str) -> bool:
    """Tell whether an id holds a UUID, so that nobody guesses it."""
    return _UUID.search(text) is not None


@attrs.frozen
class Resumption:
    """Decides about first frames that are chat messages."""

    ports: AppPorts
    clock: Clock
    tries: Tries
    enabled: bool

    async def device(self, frame: ChatFrame, address: str, now: float) -> Device | None:
        """Return the device that a connection acts as, None where its first frame opens nothing.

        Raises:
            StorageError: the pairs could not be read.
        """
        device_id, session_id = frame.device_id, frame.session_id
        if not self.enabled or device_id is None or session_id is None:
            return None
        if not self.tries.allow(address, now):
            return None
        if not holds_uuid(device_id) or not holds_uuid(session_id):
            return None
        since_ms = self.clock() - PAIR_MS
        owner = await self.ports.pairs.owner(device_id, session_id, since_ms=since_ms)
        device = None if owner is None else self.ports.keys.find_hash(owner)
        return device if device is not None and authorize(device.scope, "send") else None
