"""Makes the spec of a session's hub from the agent's table, the environment and the session's own settings."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from actors.events.codec import decode_settings
from bridgehub.protocol.hub_spec import DelegateSpec, HubSpec
from bridgehub.workspace.worktrees import repository_folder
from builderos.agent_config import START_S, allows_bypass
from builderos.config import AcpAgent, Agent, ClaudeAgent, CodexAgent, Config
from storage.data_folder import CHECKPOINTS, WORKTREES, blob_folder
from storage.records import SessionRecord

__all__ = ["TRUST_NAME", "HubSpecs", "agent_environment", "agent_options"]

_SESSIONS = uuid.UUID("5a3f7c1e-0b7d-4a52-9d0e-6a1f3b1c2d4e")
"""The namespace of our sessions' agent-side ids; it must never change."""

TRUST_NAME = "trust"
"""The folder below the data folder that records which other folders devices trust."""

_OWN = "BUILDEROS_"

_HUBS = frozenset({"env", "delegate", "silence_s", "start_s", "checkpoints"})
"""Keys of an agent's table that its driver has nothing to do with."""


def agent_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the server's environment that agents may see: all but the server's own variables."""
    return {name: value for name, value in environment.items() if not name.startswith(_OWN)}


@attrs.frozen
class HubSpecs:
    """Makes specs. `data`: the data folder; `environment`: the server's, less its own variables."""

    config: Config
    data: Path
    environment: Mapping[str, str] = attrs.field(repr=False)

    def spec_for(self, record: SessionRecord, hub_id: str) -> HubSpec:
        """Return the spec of the hub `hub_id` of a session. The hubs' starter adds `folder` and `socket`.

        An agent that was removed from the config gets a kind that no driver has: the hub then ends the turn with an
        error.
        """
        settings = decode_settings(record.settings)
        agent = self.config.agents.get(record.agent_type)
        return HubSpec(
            hub_id=hub_id,
            session_id=record.session_id,
            agent=record.agent_type,
            kind="not configured" if agent is None else agent.kind,
            folder="",
            socket="",
            workspace=settings.workspace,
            env={**self.environment, **({} if agent is None else agent.env)},
            options={} if agent is None else agent_options(agent),
            agent_session_id=str(uuid.uuid5(_SESSIONS, f"{record.session_id}/{record.created_at_ms}")),
            model=settings.model,
            permission_mode=settings.permission_mode,
            blob_folder=str(blob_folder(self.data, record.session_id)),
            own_env=() if agent is None else tuple(agent.env),
            trust_store=str(self.data / TRUST_NAME),
            trusted_folders=self.config.trusted_folders,
            counts_as=repository_folder(self.data / WORKTREES, settings.workspace),
            delegates=self._delegates(record.agent_type),
            max_task_depth=self.config.max_task_depth,
            max_tasks=self.config.max_tasks,
            idle_abandon_s=self.config.hub_idle_s,
            busy_abandon_s=self.config.hub_abandon_s,
            silence_s=agent.silence_s if isinstance(agent, ClaudeAgent | CodexAgent | AcpAgent) else None,
            start_s=agent.start_s if isinstance(agent, ClaudeAgent | CodexAgent | AcpAgent) else START_S,
            checkpoint_folder=self._checkpoint_folder(agent),
        )

    def _checkpoint_folder(self, agent: Agent | None) -> str:
        saves = agent is not None and self.config.checkpoints and agent.checkpoints
        return str(self.data / CHECKPOINTS) if saves else ""

    def _delegates(self, agent_type: str) -> dict[str, DelegateSpec]:
        """Return the agents that this agent may delegate to: all that accept tasks, except itself."""
        return {
            name: DelegateSpec(
                agent.kind, agent_options(agent), {**self.environment, **agent.env}, tuple(agent.env)
            )
            for name, agent in self.config.agents.items()
            if agent.delegate and name != agent_type
        }


def agent_options(agent: Agent) -> dict[str, Any]:
    """Return what a driver gets of the agent's table: all but `kind`, what is the hub's, and what was not said.

    `allow_bypass` is what holds: a table that starts in a mode that never asks allows it.
    """
    table = attrs.asdict(agent, filter=lambda field, value: field.name not in _HUBS and value is not None)
    options = {name: list(value) if isinstance(value, tuple) else value for name, value in table.items()}
    return {**options, "allow_bypass": allows_bypass(agent)}
