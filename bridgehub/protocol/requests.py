"""The agent's requests to a person; what one of kind `trust` holds, and what a "no" to it settles for the session."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = [
    "MAX_RUNS",
    "TRUST",
    "PermissionAsked",
    "PermissionSettled",
    "declined_by",
    "declined_name",
    "trust_input",
]

TRUST = "trust"
"""The kind of a request that asks whether a folder may run its settings."""

MAX_RUNS = 200
"""Things of one folder that a person is shown; the rest is shown as a number."""


@attrs.frozen
class PermissionAsked:
    """The agent waits for `Decided`.

    Attributes:
        grant: what `allow_session` allows from now on, in words for a person; None: only this call.
        task_id: the delegated task that asks, None for the session's own agent.
        kind: what the request is about, one of `agents.request_words.Kind`; a text here, since the two ends version
            apart.
        title: one line of plain words.
        modes: the modes under which the agent would not have asked.
        diff: what an edit changes, as file entries (PROTOCOL section 9).
        editable: fields of `input` that a person may change.
        denying: those of `options` that deny, beside `deny` itself.
    """

    turn_id: str
    request_id: str
    tool: str
    input: Any
    options: tuple[str, ...]
    questions: Any = None
    grant: str | None = None
    task_id: str | None = None
    kind: str = "other"
    title: str = ""
    modes: tuple[str, ...] = ()
    diff: Any = None
    editable: tuple[str, ...] = ()
    denying: tuple[str, ...] = ()


@attrs.frozen
class PermissionSettled:
    """A request was answered in a terminal that shares the agent's program."""

    turn_id: str
    request_id: str


def trust_input(agent: str, folder: str, runs: list[dict[str, str]], more: int) -> dict[str, Any]:
    """Return the input of a request of kind `trust`.

    Args:
        agent: the kind whose program would load `runs`.
        folder: the folder that has them.
        runs: what would run.
        more: how many were left out of them.
    """
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
