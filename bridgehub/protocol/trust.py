"""What a request of kind `trust` holds, and what a "no" to it settles for the session."""

from __future__ import annotations

from typing import Any

__all__ = ["KIND", "MAX_RUNS", "declined_by", "declined_name", "trust_input"]

KIND = "trust"

MAX_RUNS = 200
"""Things of one folder that a person is shown; the rest is shown as a number."""


def trust_input(agent: str, folder: str, runs: list[dict[str, str]], more: int) -> dict[str, Any]:
    """Return the input of a request. `agent`: the kind whose program would load `runs`; `more`: left out of them."""
    return {"folder": folder, "agent": agent, "runs": runs} | ({"more": more} if more else {})


def declined_name(agent: str, folder: str) -> str:
    """Return under which name it is kept that this kind of agent does without the folder's settings."""
    return f"{agent} {folder}"


def declined_by(asked: Any, options: tuple[str, ...]) -> str | None:
    """Return what a "no" to a request with this input settles for the session; None if it settles nothing."""
    if "deny" not in options or not isinstance(asked, dict):
        return None
    agent, folder = asked.get("agent"), asked.get("folder")
    return declined_name(agent, folder) if isinstance(agent, str) and isinstance(folder, str) else None
