"""What a session's permission mode means for Codex: its approval and its sandbox. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["approval_and_sandbox", "mode_in_force"]

_SANDBOXES = frozenset({"read-only", "workspace-write", "danger-full-access"})

_MODES = {
    "default": (None, None),
    "on-failure": ("on-request", None),
    "acceptEdits": ("on-request", "workspace-write"),
    "plan": ("on-request", "read-only"),
    "bypassPermissions": ("never", "danger-full-access"),
}
"""Permission modes that are not Codex's own words, with their approval and sandbox."""


def approval_and_sandbox(options: Mapping[str, Any], mode: str | None) -> tuple[str | None, str | None]:
    """Return approval and sandbox. The session's mode overrides the agent's table. None is Codex's own default.

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
    """Return the permission mode that comes closest to what a thread works with; None if none does.

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
