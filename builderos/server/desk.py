"""The person's own programs on this computer, as the config names their agents."""

from __future__ import annotations

from collections.abc import Mapping

from bridgehub.desk.programs import Desk, DeskAgent
from builderos.config import Config
from builderos.ids import wall_clock_ms

__all__ = ["make_desk"]


def make_desk(config: Config, environment: Mapping[str, str]) -> Desk:
    """Return the reader of what the agents' programs keep. Starts and reads nothing."""
    agents = {
        name: DeskAgent(name, agent.kind, {**environment, **agent.env})
        for name, agent in config.agents.items()
        if agent.kind in ("claude", "codex")
    }
    return Desk(agents, wall_clock_ms)
