"""An agent's effective permissions, from its kind, its table of the config and the session's mode. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridgehub.agents.codex.modes import approval_and_sandbox

__all__ = ["changes_nothing"]

_PLANS = frozenset({"plan", "read-only"})


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
