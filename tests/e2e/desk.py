"""What tests of real terminals share: where the programs are, and what shows that they take keys."""

from __future__ import annotations

from pathlib import Path

import claude_agent_sdk

from tests.e2e.agents import Agents
from tests.standin.anthropic import standin_env

__all__ = ["CLAUDE", "READY", "claude_env"]

READY = "/effort"
"""What Claude Code shows once it takes keys."""

CLAUDE = str(Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude")


def claude_env(agents: Agents) -> dict[str, str]:
    """Return the environment of Claude Code in a terminal, on the stand-in."""
    return standin_env(agents.claude.url, str(agents.home))
