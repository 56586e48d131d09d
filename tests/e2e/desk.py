"""What tests of real terminals share: where the programs are, and what shows that they take keys."""

from __future__ import annotations

import sys
from pathlib import Path

import claude_agent_sdk
import trio

from tests.e2e.agents import Agents
from tests.standin.anthropic import standin_env
from tests.support.server import ROOT

__all__ = ["CLAUDE", "CODEX_READY", "QUIET", "READY", "READY_ASKING", "claude_env", "install_hook"]

READY = "/effort"
"""What Claude Code shows once it takes keys."""

READY_ASKING = "for shortcuts"
"""The same in the mode that asks."""

QUIET = """
[tui]
screen_reader_detection_done = true
[notice.model_migrations]
"gpt-5.5" = "gpt-6-sol"
"""
"""Codex's own settings without its first questions."""

CODEX_READY = "default ·"
"""What Codex shows below its prompt once it takes keys: the model and the folder."""

CLAUDE = str(Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude")


def claude_env(agents: Agents) -> dict[str, str]:
    """Return the environment of Claude Code in a terminal, on the stand-in."""
    return standin_env(agents.claude.url, str(agents.home))


async def install_hook(agents: Agents) -> None:
    """Install the hook that brings questions of plain terminals to the devices, as a person does."""
    data = str(agents.server.data)
    install = [sys.executable, "-m", "builderos", "desk", "install", "--yes", "--data", data]
    env = claude_env(agents) | {"PYTHONPATH": str(ROOT)}
    done = await trio.run_process(install, env=env, capture_stdout=True, cwd=ROOT)
    assert b"can be answered on any device" in done.stdout
