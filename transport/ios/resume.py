"""Decides which connections may resume without a key (PROTOCOL section 4, rule 9), and how often they may try. No I/O
of its own."""

from __future__ import annotations

from typing import Final

import attrs

from actors.ports import Clock
from storage.aliases import Aliases, is_app_device, is_app_session
from transport.access.attempts import Attempts
from transport.access.auth import authorize
from transport.ios.wire import ChatFrame
from transport.ports import AppPorts, Device

__all__ = ["PAIR_MS", "Resumption", "is_own_pair"]

PAIR_MS: Final = 7 * 24 * 3600 * 1000
"""How long a pair is valid after its last use with a key."""


def is_own_pair(frame: ChatFrame) -> bool:
    """Return whether a frame has both ids in the app's own form; aliases and names of other clients open nothing."""
    device_id, session_id = frame.device_id, frame.session_id
    return (
        device_id is not None
        and session_id is not None
        and is_app_device(device_id)
        and is_app_session(session_id)
    )


@attrs.frozen
class Resumption:
    """Decides about first frames that are chat messages."""

    ports: AppPorts
    aliases: Aliases
    clock: Clock
    tries: Attempts
    enabled: bool

    async def device(self, frame: ChatFrame, address: str, now: float) -> Device | None:
        """Return the device that a connection acts as; None if its first frame opens nothing.

        Raises:
            StorageError: the pairs could not be read.
        """
        device_id, session_id = frame.device_id, frame.session_id
        if not self.enabled or device_id is None or session_id is None:
            return None
        if not self.tries.allow(address, now) or not is_own_pair(frame):
            return None
        pair = self.aliases.device(device_id), self.aliases.session(session_id)
        owner = await self.ports.pairs.owner(*pair, since_ms=self.clock() - PAIR_MS)
        device = None if owner is None else self.ports.keys.find_hash(owner)
        return device if device is not None and authorize(device.scope, "send") else None
