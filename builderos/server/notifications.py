"""The wiring of notifications."""

from __future__ import annotations

import os

from builderos.config import Config
from builderos.ids import new_id, new_key, wall_clock_ms
from builderos.server.hub_specs import agent_environment
from storage.store import Store
from transport.push.attention import Attention
from transport.push.notifier import Notifier

__all__ = ["make_notifier"]


def make_notifier(store: Store, config: Config, attention: Attention) -> Notifier:
    """Return what notifies the devices of one server."""
    return Notifier(
        store.notifications,
        store.devices,
        config.push,
        attention,
        wall_clock_ms,
        new_id,
        store.settle,
        new_key,
        agent_environment(os.environ),
        place=str(store.path.stat().st_ino),
    )
