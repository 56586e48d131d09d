"""An agent's effective permissions, from its kind, its table of the config and the session's mode: whether it can write at
all, and what the mode means for Codex, its approval and its sandbox. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["approval_and_sandbox", "changes_nothing", "mode_in_force"]

_PLANS = frozenset({"plan", "read-only"})
_SANDBOXES = frozenset({"read-only", "workspace-write", "danger-full-access"})

_MODES = {
    "default": (None, None),
    "on-failure": ("on-request", None),
    "acceptEdits": ("on-request", "workspace-write"),
    "plan": ("on-request", "read-only"),
    "bypassPermissions": ("never", "danger-full-access"),
}
"""Permission modes that are not Codex's own words, with its approval and sandbox."""


def approval_and_sandbox(options: Mapping[str, Any], mode: str | None) -> tuple[str | None, str | None]:
    """Return Codex's approval and sandbox. The session's mode overrides the agent's table. None is its own default.

    The mode is a word for the approval, a word for the sandbox, or one of the common modes. An unknown word goes to Codex
    as an approval, and Codex refuses it.
    """
    approval, sandbox = options.get("approval"), options.get("sandbox")
    approval = _MODES.get(str(approval), (approval, None))[0]
    if mode in _SANDBOXES:
        return approval, mode
    if mode in _MODES:
        wanted = _MODES[mode]
        return wanted[0] or approval, wanted[1] or sandbox
    return (approval if mode is None else mode), sandbox


def mode_in_force(approval: Any, policy: Any) -> str | None:
    """Return the permission mode that comes closest to what a Codex thread works with; None if none does.

    Args:
        approval: Codex's word for when it asks.
        policy: its sandbox, as it reports it.

    What no mode of ours allows counts as the mode that never asks, so that it is not kept.
    """
    kind = policy.get("type") if isinstance(policy, dict) else None
    if approval == "never" or kind in ("dangerFullAccess", "externalSandbox"):
        return "bypassPermissions"
    if kind == "readOnly":
        return "read-only"
    if approval == "untrusted":
        return "untrusted"
    return "acceptEdits" if approval == "on-request" and kind == "workspaceWrite" else None


def changes_nothing(kind: str, options: Mapping[str, Any], mode: str | None) -> bool:
    """Return whether an agent cannot write with its effective permissions, whichever setting gives them.

    Args:
        kind: the kind of agent.
        options: its table of the config.
        mode: the session's permission mode, which comes first. None if the session sets none.
    """
    if kind == "codex":
        return approval_and_sandbox(options, mode)[1] == "read-only"
    return (mode or options.get("permission_mode")) in _PLANS
