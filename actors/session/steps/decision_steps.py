"""What a person's answer to a request does, and whether it fits the request. Pure."""

from __future__ import annotations

from actors.commands import Author, Decide
from actors.events.permissions import Decision, PermissionRequested, PermissionResolved
from actors.replies import RejectCode, Rejected
from actors.session.effects import NoteInAudit, SendToHub, TellDesk
from actors.session.state import SessionState
from actors.session.steps.settings_steps import refusal_of_settings, switch_mode
from actors.session.steps.step import Step, decided

__all__ = ["decide_request", "own_options"]

MAX_SHOWN = 100
"""Characters of a wrong value that a refusal shows."""

DECISIONS = frozenset({"allow", "deny", "allow_session"})


def decide_request(step: Step, author: Author, decide: Decide) -> Rejected | None:
    """Answer an open request; return why it cannot be answered so, or any more. The first answer wins."""
    state, request_id = step.state, decide.request_id
    request = state.turn.requests.get(request_id) if state.turn is not None else None
    if request is None:
        return _no_open_request(state, request_id)
    refusal = _refusal_of_decision(request, decide)
    if refusal is None and decide.mode is not None:
        refusal = refusal_of_settings(state, {"permission_mode": decide.mode})
    if refusal is None and decide.mode is not None and state.is_at_desk:
        refusal = "bad_setting", "the mode of a terminal can only be changed there"
    if refusal is not None:
        return Rejected(*refusal, request_id=request_id)
    decision = _decision_of(request, decide)
    changes = decision in ("allow", "allow_session")
    resolved = PermissionResolved(
        request_id,
        decision,
        author.device_id,
        decide.note,
        decide.answers,
        decide.input if changes else None,
        decide.mode if changes else None,
        decide.option,
    )
    step.emit_in_turn(resolved, device_id=author.device_id)
    step.do(TellDesk(resolved) if state.is_at_desk else SendToHub(decided(resolved)))
    if request.about == "trust" and isinstance(request.input, dict):
        act = "folder_trusted" if decide.decision in ("allow", "allow_session") else "folder_not_trusted"
        step.do(NoteInAudit(act, author.key_id, str(request.input.get("folder"))))
    if resolved.mode is not None:
        switch_mode(step, resolved.mode, author)
    return None


def _no_open_request(state: SessionState, request_id: str) -> Rejected:
    if request_id not in state.resolved:
        return Rejected("unknown_request", "there is no such request", request_id=request_id)
    by = state.resolved[request_id]
    content = f"{by} was first" if by is not None else "this request is closed already"
    return Rejected("already_resolved", content, request_id=request_id, by_device=by)


def _refusal_of_decision(request: PermissionRequested, decide: Decide) -> tuple[RejectCode, str] | None:
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


def _decision_of(request: PermissionRequested, decide: Decide) -> Decision:
    """Return what a person's answer comes to: an option of the agent's own allows or denies by what it is."""
    if decide.option is None:
        return decide.decision
    return "deny" if decide.option in request.denying else "allow"


def own_options(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options that are the agent's own: labels, not decisions."""
    return tuple(one for one in options if one not in DECISIONS)
