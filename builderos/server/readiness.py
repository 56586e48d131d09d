"""Reports to devices whether the agents are installed and signed in, and how to fix what is not.

It uses the doctor's checks: they look at files and variables, and start no process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from builderos.agent_checks import examine_agent
from builderos.config import Config
from transport.http.services import AgentState, Readiness

__all__ = ["ReadinessProbe"]


@attrs.frozen
class ReadinessProbe:
    """Checks the agents at each call; blocks for a few stats of files.

    Attributes:
        environment: the part of the server's that agents get.
    """

    config: Config
    environment: Mapping[str, str] = attrs.field(repr=False)
    home: Path
    workspace: Path

    def __call__(self) -> Readiness:
        """Return what is missing and how to fix it."""
        agents = tuple(self._agent(name) for name in self.config.agents)
        usable = self.workspace.is_dir() and os.access(self.workspace, os.R_OK | os.X_OK)
        return Readiness(agents, self.workspace, usable)

    def _agent(self, name: str) -> AgentState:
        agent = self.config.agents[name]
        for finding in examine_agent(name, agent, {**self.environment, **agent.env}, self.home):
            if finding.fix:  # without one it is only a remark
                return AgentState(name, agent.kind, finding.detail, finding.fix)
        return AgentState(name, agent.kind)
