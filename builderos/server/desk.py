"""The person's own programs on this computer, as the config names their agents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bridgehub.desk.acp_conversations import AcpConversations
from bridgehub.desk.programs import Desk, DeskAgent
from bridgehub.desk.records import DESK
from bridgehub.protocol.hub_spec import HubSpec
from builderos.config import AcpAgent, Config
from builderos.ids import new_id, wall_clock_ms
from builderos.server.hub_specs import TRUST_NAME, agent_options

__all__ = ["make_desk"]


def make_desk(config: Config, data: Path, environment: Mapping[str, str]) -> Desk:
    """Return the reader of what the agents' programs keep in this data folder's view. Starts and reads nothing."""
    agents = {
        name: DeskAgent(name, agent.kind, {**environment, **agent.env})
        for name, agent in config.agents.items()
        if agent.kind in ("claude", "codex")
    }
    acp = {
        name: AcpConversations(_spec(name, agent, config, data, environment), new_id, str(data))
        for name, agent in config.agents.items()
        if isinstance(agent, AcpAgent)
    }
    return Desk(agents, wall_clock_ms, acp)


def _spec(name: str, agent: AcpAgent, config: Config, data: Path, environment: Mapping[str, str]) -> HubSpec:
    """Return what starts an agent that is asked for its conversations: no hub, no session."""
    return HubSpec(
        hub_id=DESK,
        session_id=DESK,
        agent=name,
        kind=agent.kind,
        folder="",
        socket="",
        workspace="",
        env={**environment, **agent.env},
        options=agent_options(agent),
        agent_session_id=DESK,
        start_s=agent.start_s,
        trust_store=str(data / TRUST_NAME),
        trusted_folders=config.trusted_folders,
    )
