"""Whether a person's answer fits the request that it answers. Pure."""

from __future__ import annotations

from actors.commands import Decide
from actors.events.permissions import Decision, PermissionRequested
from actors.replies import RejectCode

__all__ = ["decision_of", "own_options", "refusal_of_decision"]

MAX_SHOWN = 100
"""Characters of a wrong value that a refusal shows."""

DECISIONS = frozenset({"allow", "deny", "allow_session"})


def own_options(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options that are the agent's own: labels, not decisions."""
    return tuple(one for one in options if one not in DECISIONS)


def refusal_of_decision(request: PermissionRequested, decide: Decide) -> tuple[RejectCode, str] | None:
    """Return why an open request cannot be answered so; None if it can. The request stays open."""
    needs_drive = decide.mode is not None or decide.input is not None or request.about == "trust"
    if needs_drive and not decide.drives:
        return "forbidden", "this key may not answer so: that needs the scope drive"
    if decide.option is not None and decide.option not in own_options(request.options):
        return "bad_setting", f"the agent does not offer {decide.option[:MAX_SHOWN]!r} for this request"
    for name, value in (decide.input or {}).items():
        if name not in request.editable or not isinstance(request.input, dict):
            return "not_editable", f"the field {name!r} of this request cannot be changed"
        shown = request.input.get(name)
        if type(value) is not type(shown):
            return "not_editable", f"the field {name!r} takes a {type(shown).__name__}"
    return None


def decision_of(request: PermissionRequested, decide: Decide) -> Decision:
    """Return what a person's answer comes to: an option of the agent's own allows or denies by what it is."""
    if decide.option is None:
        return decide.decision
    return "deny" if decide.option in request.denying else "allow"
