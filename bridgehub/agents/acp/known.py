"""Agents that speak the Agent Client Protocol: how to install, sign in and start each. No I/O.

`seen` is the version with which a whole turn ran offline, with a tool and a permission. Empty: not tried.
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
        command: the command that starts it.
        install: the command that installs it.
        sign_in: the command that signs it in.
        seen: its version that was seen working.
        env: variables that its table should have.
        reads: files and folders of a project in which it looks for its settings.
        takes_files: whether it works with files that we read and write for it.
        repeats_late: whether it repeats a conversation only after it has reported that it is loaded.
        loses_young: whether it empties its record of a conversation that is loaded in the minute in which it began.
    """

    name: str
    command: tuple[str, ...]
    install: str
    sign_in: str
    seen: str = ""
    env: tuple[tuple[str, str], ...] = ()
    reads: tuple[str, ...] = ()
    takes_files: bool = True
    repeats_late: bool = False
    loses_young: bool = False

    def table(self) -> str:
        """Return the agent's table of the config, as TOML."""
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


_TEXTS = ("agent", "agents", "command", "commands", "skill", "skills")


def _inside(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


_OPENCODE = _inside(
    ".opencode",
    "opencode.json",
    "opencode.jsonc",
    "package.json",
    "mode",
    "modes",
    "plugin",
    "plugins",
    "tool",
    "tools",
    *_TEXTS,
)
_GEMINI = ("settings.json", ".env", "extensions", "hooks", "policies", *_TEXTS)

KNOWN = {
    one.name: one
    for one in (
        KnownAgent(
            "opencode",
            ("opencode", "acp"),
            install="npm install -g opencode-ai",
            sign_in="opencode auth login",
            seen="1.18.33",
            reads=("opencode.json", "opencode.jsonc", *_OPENCODE),
        ),
        KnownAgent(
            "gemini",
            ("gemini", "--acp"),
            install="npm install -g @google/gemini-cli",
            sign_in="gemini",
            seen="0.61.0",
            reads=_inside(".gemini", *_GEMINI),
            repeats_late=True,
            loses_young=True,  # the minute is in the name of its file, and a load begins that file again (seen)
            takes_files=False,  # if a file does not exist yet, our answer makes its write fail (seen)
        ),
        KnownAgent(
            "qwen",
            ("qwen", "--acp"),
            install="npm install -g @qwen-code/qwen-code",
            sign_in="qwen",
            seen="0.24.4",
            reads=_inside(".qwen", *_GEMINI),
        ),
        KnownAgent(
            "copilot",
            ("copilot", "--acp"),
            install="npm install -g @github/copilot",
            sign_in="copilot login",
            seen="1.0.102",
            reads=(".copilot", ".github/agents", ".github/copilot", ".github/hooks", ".vscode/mcp.json"),
        ),
        KnownAgent(
            "vibe",
            ("vibe-acp",),
            install="uv tool install mistral-vibe",
            sign_in="vibe --setup",
            seen="3.0.2",
            reads=_inside(".vibe", "config.toml", ".env", "hooks", "tools", *_TEXTS),
        ),
        KnownAgent(
            "goose",
            ("goose", "acp"),
            install="brew install block-goose-cli",
            sign_in="goose configure",
            reads=_inside(".goose", "config.yaml", "recipes", *_TEXTS),
        ),
        KnownAgent(
            "cursor",
            ("cursor-agent", "acp"),
            install="curl https://cursor.com/install -fsS | bash",
            sign_in="cursor-agent login",
            reads=_inside(".cursor", "mcp.json", "hooks.json", "cli.json", "hooks", *_TEXTS),
        ),
        KnownAgent(
            "claude-acp",
            ("claude-agent-acp",),
            install="npm install -g @agentclientprotocol/claude-agent-acp",
            sign_in="claude /login",
            seen="0.101.0",
        ),
    )
}
"""Known agents by name, in the order in which they are listed."""


def known_of(command: Sequence[str]) -> KnownAgent | None:
    """Return the known agent that a command starts. None if there is none."""
    program = PurePath(command[0]).name if command else ""
    return next((one for one in KNOWN.values() if one.command[0] == program), None)
