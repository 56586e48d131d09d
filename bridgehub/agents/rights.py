"""What an agent may do after all, told by its kind, its table of the config and the session's mode. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridgehub.agents.codex.modes import approval_and_sandbox

__all__ = ["changes_nothing"]

_PLANS = frozenset({"plan", "read-only"})


def changes_nothing(kind: str, options: Mapping[str, Any], mode: str | None) -> bool:
    """Tell whether an agent may not write by its effective rights, whichever word gives them.

    Args:
        kind: which agent.
        options: its table of the config.
        mode: the session's permission mode, which goes first; None if it says nothing.
    """
    if kind == "codex":
        return approval_and_sandbox(options, mode)[1] == "read-only"
    return (mode or options.get("permission_mode")) in _PLANS
