"""What the server tells a device about its agents: are they installed, are they signed in, what mends it.

The doctor's own checks: files and variables are looked at, no process is started and nobody is asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from builderos.commands.doctor import examine_agent
from builderos.config import Config
from transport.facilities import AgentState, Readiness

__all__ = ["ReadinessProbe"]


@attrs.frozen
class ReadinessProbe:
    """Looks, each time it is called; blocks for some stats of files.

    Attributes:
        environment: what agents get of the server's.
    """

    config: Config
    environment: Mapping[str, str] = attrs.field(repr=False)
    home: Path
    workspace: Path

    def __call__(self) -> Readiness:
        """Return what there is to mend."""
        agents = tuple(self._agent(name) for name in self.config.agents)
        usable = self.workspace.is_dir() and os.access(self.workspace, os.R_OK | os.X_OK)
        return Readiness(agents, self.workspace, usable)

    def _agent(self, name: str) -> AgentState:
        agent = self.config.agents[name]
        for finding in examine_agent(name, agent, {**self.environment, **agent.env}, self.home):
            if finding.mend:  # without one it is only a remark
                return AgentState(name, agent.kind, finding.detail, finding.mend)
        return AgentState(name, agent.kind)
