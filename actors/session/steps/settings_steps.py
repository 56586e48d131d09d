"""What a session does about its settings: what a person chooses, what the agent says it works with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from actors.commands import Author, Configure, RevokeGrant
from actors.events.conversation import Notice
from actors.events.permissions import PermissionResolved
from actors.events.session import SessionUpdated, Settings
from actors.offer import BYPASS_CHOSEN, MODE_RANKS, encode_offer, read_offer, refusal_of
from actors.replies import RejectCode
from actors.session.effects import Announce, KeepOffer, NoteInAudit, SendToHub
from actors.session.state import SessionState
from actors.session.steps.step import Step, decided
from actors.tail import GaugeMoved, OfferChanged
from bridgehub.desk.records import DESK
from bridgehub.protocol import events as hub

__all__ = [
    "MAX_CHANGES",
    "allow_under_mode",
    "chosen_at_desk",
    "configure",
    "gauged",
    "offered",
    "refusal_of_settings",
    "revoke_grant",
    "settings_told",
    "switch_mode",
]

MAX_CHANGES: Final = 30
"""Changes of one session's settings in a minute (PROTOCOL section 14)."""

MINUTE_MS: Final = 60_000
MAX_NOTICE_CHARS: Final = 2000


def configure(step: Step, change: Configure, author: Author) -> tuple[RejectCode, str] | None:
    """Change settings, as a whole or not at all; return why not."""
    state = step.state
    state.configured = [at for at in state.configured if at > step.now_ms - MINUTE_MS]
    if len(state.configured) >= MAX_CHANGES:
        return "too_many", f"the settings were changed {MAX_CHANGES} times within a minute; wait a little"
    refusal = refusal_of_settings(state, change.changes)
    if refusal is not None:
        return refusal
    state.configured.append(step.now_ms)
    _choose(step, change.changes, author)
    return None


def switch_mode(step: Step, mode: str, author: Author) -> None:
    """Take a mode that came with an answer and that `refusal_of_settings` let pass."""
    _choose(step, {"permission_mode": mode}, author)


def _choose(step: Step, changes: dict[str, str | None], author: Author) -> None:
    state = step.state
    applies = {state.offer.applies.get(name, "next_turn") for name in changes}
    before, settings = state.settings, _changed(state.settings, changes)
    applied = "next_turn" if "next_turn" in applies else "now"
    step.set_settings(settings, device_id=author.device_id, applies=applied)
    mode = settings.permission_mode
    if mode is not None and mode != before.permission_mode and state.offer.kind_of(mode) == "bypass":
        step.do(NoteInAudit(BYPASS_CHOSEN, author.key_id, mode))
    step.tell_setup()
    if "permission_mode" in changes and state.turn is not None:
        for request_id in tuple(state.turn.requests):
            allow_under_mode(step, request_id)


def _changed(settings: Settings, changes: Mapping[str, str | None]) -> Settings:
    return Settings(
        settings.workspace,
        changes.get("model", settings.model),
        changes.get("permission_mode", settings.permission_mode),
        changes.get("effort", settings.effort),
    )


def refusal_of_settings(state: SessionState, changes: dict[str, str | None]) -> tuple[RejectCode, str] | None:
    """Return why these settings cannot be; None if they can."""
    return refusal_of(state.offer, changes, state.settings.model, allows_bypass=state.allows_bypass)


def allow_under_mode(step: Step, request_id: str) -> None:
    """Allow an open request if a person chose a mode in which its agent would not have asked."""
    state, turn = step.state, step.state.turn
    assert turn is not None
    mode, request = state.settings.permission_mode, turn.requests[request_id]
    if mode is None or mode != state.person_mode or mode not in request.modes or state.mode_by is None:
        return
    resolved = PermissionResolved(request_id, "allow", state.mode_by, note=f"mode {mode}")
    step.emit_in_turn(resolved, device_id=state.mode_by)
    step.do(SendToHub(decided(resolved)))


def revoke_grant(step: Step, revoke: RevokeGrant, author: Author) -> tuple[RejectCode, str] | None:
    """Take back what was allowed for the whole session; return why not."""
    state = step.state
    if revoke.grant not in state.grants:
        return "unknown_grant", "that is not allowed for the session"
    left = tuple(one for one in state.granted() if one.grant != revoke.grant)
    step.emit(SessionUpdated(grants=left), device_id=author.device_id)
    step.do(NoteInAudit("grant_revoked", author.key_id))
    step.tell_setup()
    return None


def settings_told(step: Step, event: hub.SettingsTold) -> None:
    """Journal what the agent works with, if that is not what it was given."""
    state = step.state
    settings = _changed(state.settings, event.settings)
    if event.refused is not None:
        turn_id = None if state.turn is None else state.turn.turn_id
        step.emit(Notice("setting_failed", event.refused[:MAX_NOTICE_CHARS]), turn_id=turn_id)
    if event.refused is not None or settings != state.settings:
        step.set_settings(settings, device_id=DESK if event.at_desk else None)
    if state.turn is None:
        step.take_back_lent_rights()


def chosen_at_desk(step: Step, changes: Mapping[str, str | None]) -> None:
    """Take what somebody chose in a terminal whose agent is not ours.

    A mode counts here if it lets the agent do less than what was chosen on a device.
    """
    state = step.state
    settings = _changed(state.settings, changes)
    kind, chosen = state.offer.kind_of(settings.permission_mode), state.offer.kind_of(state.person_mode)
    if kind is None or MODE_RANKS[kind] >= MODE_RANKS[chosen or "ask"]:
        settings = attrs.evolve(settings, permission_mode=state.person_mode)
    if settings != state.settings:
        step.set_settings(settings, device_id=DESK)


def offered(step: Step, event: hub.AgentOffered) -> None:
    """Take what the agent offers; nothing if it is known."""
    offer = read_offer(event.offer)
    if encode_offer(offer) == encode_offer(step.state.offer):
        return
    step.state.offer = offer
    step.do(KeepOffer(offer))
    step.do(Announce(OfferChanged(offer)))


def gauged(step: Step, event: hub.Gauged) -> None:
    """Take the agent's report of its context, cost and limits.

    A running turn keeps it with its next change, at its end at the latest. Between two turns it comes along with the
    append that notes how far the hub was heard.
    """
    if event.gauge != step.state.gauge:
        step.state.gauge = event.gauge
        step.state.snapshot_kept &= step.state.turn is not None
        step.do(Announce(GaugeMoved(event.gauge)))
