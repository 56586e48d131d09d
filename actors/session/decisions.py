"""Whether a person's answer fits the request that it answers. Pure."""

from __future__ import annotations

from actors.commands import Decide, RejectCode
from actors.events import PermissionRequested

__all__ = ["refusal_of_decision"]


def refusal_of_decision(request: PermissionRequested, decide: Decide) -> tuple[RejectCode, str] | None:
    """Return why an open request cannot be answered so; None if it can. The request stays open."""
    needs_drive = decide.mode is not None or decide.input is not None or request.about == "trust"
    if needs_drive and not decide.drives:
        return "forbidden", "this key may not answer so: that needs the scope drive"
    for name, value in (decide.input or {}).items():
        if name not in request.editable or not isinstance(request.input, dict):
            return "not_editable", f"the field {name!r} of this request cannot be changed"
        shown = request.input.get(name)
        if type(value) is not type(shown):
            return "not_editable", f"the field {name!r} takes a {type(shown).__name__}"
    return None
