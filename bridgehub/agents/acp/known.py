"""Agents that speak the Agent Client Protocol: how each is installed, signed in and started. No I/O.

`seen`: the version with which a whole turn was run (a tool, a permission), offline; empty if it was not tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import attrs

__all__ = ["KNOWN", "KnownAgent", "known_of"]


@attrs.frozen
class KnownAgent:
    """One known agent.

    Attributes:
        command: how it is started.
        install: the command that installs it.
        sign_in: the command that signs it in.
        seen: its version that was seen working.
        env: variables that its table should have.
    """

    name: str
    command: tuple[str, ...]
    install: str
    sign_in: str
    seen: str = ""
    env: tuple[tuple[str, str], ...] = ()

    def table(self) -> str:
        """Return its table of the config, as TOML."""
        return "\n".join((f"[agents.{self.name}]", *self._fields())) + "\n"

    def line(self) -> str:
        """Return the same as one line, which belongs above all tables of a config."""
        return f"agents.{self.name} = {{ {', '.join(self._fields())} }}"

    def _fields(self) -> list[str]:
        words = ", ".join(f'"{word}"' for word in self.command)
        fields = ['kind = "acp"', f"command = [{words}]"]
        if self.env:
            fields.append("env = { " + ", ".join(f'{name} = "{value}"' for name, value in self.env) + " }")
        return fields


KNOWN = {
    one.name: one
    for one in (
        KnownAgent(
            "opencode",
            ("opencode", "acp"),
            "npm install -g opencode-ai",
            "opencode auth login",
            "1.18.33",
        ),
        KnownAgent("gemini", ("gemini", "--acp"), "npm install -g @google/gemini-cli", "gemini", "0.61.0"),
        KnownAgent("qwen", ("qwen", "--acp"), "npm install -g @qwen-code/qwen-code", "qwen", "0.24.4"),
        KnownAgent(
            "copilot", ("copilot", "--acp"), "npm install -g @github/copilot", "copilot login", "1.0.102"
        ),
        KnownAgent("vibe", ("vibe-acp",), "uv tool install mistral-vibe", "vibe --setup", "3.0.2"),
        KnownAgent(
            "goose",
            ("goose", "acp"),
            "brew install block-goose-cli",
            "goose configure",
        ),
        KnownAgent(
            "cursor",
            ("cursor-agent", "acp"),
            "curl https://cursor.com/install -fsS | bash",
            "cursor-agent login",
        ),
        KnownAgent(
            "claude-acp",
            ("claude-agent-acp",),
            "npm install -g @agentclientprotocol/claude-agent-acp",
            "claude /login",
            "0.101.0",
        ),
    )
}
"""By name, in the order in which they are listed."""


def known_of(command: Sequence[str]) -> KnownAgent | None:
    """Return the known agent that a command starts; None if it starts another one."""
    program = PurePath(command[0]).name if command else ""
    return next((one for one in KNOWN.values() if one.command[0] == program), None)
