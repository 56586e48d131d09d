"""The settings of the actors, with units and defaults."""

from __future__ import annotations

import attrs

__all__ = ["ActorConfig"]


@attrs.frozen
class ActorConfig:
    """How long a session and its supervisor wait for what, and how often an actor may crash.

    Attributes:
        hub_idle_s: an idle session's hub is stopped after this long.
        warm_idle_s: a hub that was started for a message that did not come is stopped after this long.
        actor_idle_s: an idle session without hub and devices leaves memory after this long.
        tail_rest_s: how long after its last event a session keeps its tail for those who are behind; up to twice as long.
        link_patience_s: how long a message waits for a hub that lives and takes no link, if it certainly has not
            had the message; then another one gets it.
        interrupt_limit_s: a turn that was interrupted ends within this, whatever its hub does.
        storage_retry_s: while storage takes no writes, how often it is asked.
        restart_intensity, restart_period_s: more crashes than this in this time and a session is failed.
        revive_after_s: a failed session can be started again after this long.
    """

    hub_idle_s: float = 600.0
    warm_idle_s: float = 120.0
    actor_idle_s: float = 10.0
    tail_rest_s: float = 2.0
    link_patience_s: float = 30.0
    interrupt_limit_s: float = 1.7
    storage_retry_s: float = 0.5
    restart_intensity: int = 3
    restart_period_s: float = 60.0
    revive_after_s: float = 60.0
