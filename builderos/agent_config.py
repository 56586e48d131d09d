"""The agents' tables in the config, one class for each kind of agent."""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs

from builderos.config_values import at_most, not_empty, positive

__all__ = [
    "KINDS",
    "AcpAgent",
    "Agent",
    "BridgeHubAgent",
    "ClaudeAgent",
    "CodexAgent",
    "EchoAgent",
    "allows_bypass",
]

SILENCE_S = 1800.0
"""How long Claude Code or Codex may be silent while no tool runs and no request waits. Models think for some minutes at
most. Both programs give up on a silent model service, and report it, long before."""

START_S = 45.0
"""How long a program may take until it is ready. Claude Code and Codex take under a second, opencode two; on a machine
with nine times more work than it can do 25 s were seen."""

MAX_CLAUDE_START_S = 55.0
"""The SDK gives up after 60 s, with an error that has no class."""


@attrs.frozen(kw_only=True)
class ClaudeAgent:
    """Claude Code through its SDK.

    Attributes of every kind: `delegate`: whether other agents may hand it work; `checkpoints`: whether the workspace
    is saved around its turns; `allow_bypass`: whether a device may put it into a mode that never asks; `env`: added to
    its environment.
    Of this one and Codex: `silence_s`, `start_s`: see `SILENCE_S` and `START_S`.

    Attributes:
        permission_mode, model: the defaults of its sessions; None is its own
        default. cli_path: the program to run instead of the one that comes with the SDK.
    """

    kind: ClassVar[str] = "claude"
    permission_mode: Literal["default", "acceptEdits", "plan", "bypassPermissions"] = "default"
    model: str | None = None
    cli_path: str | None = None
    silence_s: float = attrs.field(default=SILENCE_S, validator=positive)
    start_s: float = attrs.field(default=START_S, validator=[positive, at_most(MAX_CLAUDE_START_S)])
    delegate: bool = True
    checkpoints: bool = True
    allow_bypass: bool = False
    env: dict[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class CodexAgent:
    """Codex through `codex app-server`.

    Attributes:
        approval, sandbox, model: the defaults of its sessions; None is Codex's own
        default. cli_path: the program to run instead of the package's.
    """

    kind: ClassVar[str] = "codex"
    approval: Literal["untrusted", "on-failure", "on-request", "never"] = "on-request"
    sandbox: Literal["read-only", "workspace-write", "danger-full-access"] = "workspace-write"
    model: str | None = None
    cli_path: str | None = None
    silence_s: float = attrs.field(default=SILENCE_S, validator=positive)
    start_s: float = attrs.field(default=START_S, validator=positive)
    delegate: bool = True
    checkpoints: bool = True
    allow_bypass: bool = False
    env: dict[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class EchoAgent:
    """A test agent: no account, no network."""

    kind: ClassVar[str] = "echo"
    delegate: bool = True
    checkpoints: bool = True
    allow_bypass: bool = False
    env: dict[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class BridgeHubAgent:
    """An existing relay that the user installed, one process a turn. `timeout_s` bounds a turn."""

    kind: ClassVar[str] = "bridgehub/1.0"
    command: tuple[str, ...] = attrs.field(validator=not_empty)
    direction: str = attrs.field(validator=not_empty)
    timeout_s: float = attrs.field(default=600.0, validator=positive)
    delegate: bool = True
    checkpoints: bool = True
    allow_bypass: bool = False
    env: dict[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class AcpAgent:
    """An agent that speaks the Agent Client Protocol. `command`: how it is started; the others as of Claude Code."""

    kind: ClassVar[str] = "acp"
    command: tuple[str, ...] = attrs.field(validator=not_empty)
    silence_s: float = attrs.field(default=SILENCE_S, validator=positive)
    start_s: float = attrs.field(default=START_S, validator=positive)
    delegate: bool = True
    checkpoints: bool = True
    allow_bypass: bool = False
    env: dict[str, str] = attrs.field(factory=dict, repr=False)


Agent = ClaudeAgent | CodexAgent | EchoAgent | BridgeHubAgent | AcpAgent


def allows_bypass(agent: Agent) -> bool:
    """Return whether an agent may work in a mode that never asks: allowed by its `allow_bypass`, or because it starts
    in one."""
    match agent:
        case ClaudeAgent(permission_mode="bypassPermissions"):
            return True
        case CodexAgent(approval="never", sandbox="danger-full-access"):
            return True
    return agent.allow_bypass


KINDS: dict[str, type[Agent]] = {
    cls.kind: cls for cls in (ClaudeAgent, CodexAgent, EchoAgent, BridgeHubAgent, AcpAgent)
}
