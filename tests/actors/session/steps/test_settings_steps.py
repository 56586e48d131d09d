"""Settings of a session: who may choose what, what the agent says, and what a change of mode answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from actors.commands import Configure, Decide, Interrupt, RevokeGrant, Send
from actors.events.permissions import PermissionResolved
from actors.events.session import SessionUpdated
from actors.offer import MAX_COMMANDS, read_offer
from actors.replies import Rejected
from actors.session.effects import Announce, HandOver, KeepOffer, NoteInAudit, StartHub, StopHub
from actors.session.snapshot import view
from actors.session.steps.settings_steps import MAX_CHANGES
from actors.tail import GaugeMoved, OfferChanged
from bridgehub.agents.echo import OFFER
from bridgehub.protocol import events as hub
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Welcome
from tests.actors.core import Core

OPTIONS = ("allow", "deny", "allow_session")


def running(*, bypass: bool = False) -> Core:
    """Return a session whose agent reported its offer and works on a message."""
    core = Core()
    core.state.allows_bypass = bypass
    core.do(Send("m1", "go"))
    core.give(core.ready())
    core.hear(hub.AgentOffered(None, OFFER), hub.Consumed(core.turn_id))
    return core


def ask(core: Core, request_id: str, **fields: Any) -> list[str]:
    given = {"tool": "bash", "input": {}, "options": OPTIONS, **fields}
    return core.hear(hub.PermissionAsked(core.turn_id, request_id, **given))


def told(core: Core) -> SessionUpdated:
    event = core.events[-1].event
    assert isinstance(event, SessionUpdated)
    return event


def test_an_offer_is_kept_and_told_once() -> None:
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    assert core.hear(hub.AgentOffered(None, OFFER)) == []
    offer = read_offer(OFFER)
    assert core.orders == [KeepOffer(offer), Announce(OfferChanged(offer))]
    core.hear(hub.AgentOffered(None, OFFER))
    assert core.orders == []
    core.reload()
    assert view(core.state).offer == offer


def test_an_offer_is_cut_to_what_a_frame_takes() -> None:
    offer = read_offer({"commands": [{"name": f"c{n}"} for n in range(MAX_COMMANDS + 1)], "models": "none"})
    assert (len(offer.commands), offer.truncated, offer.models) == (MAX_COMMANDS, True, ())
    assert read_offer({"modes": [{"id": "x", "kind": "yolo"}, {"kind": "ask"}, 7]}).modes == ()
    assert read_offer([1, 2]) == read_offer({})


@pytest.mark.parametrize("phase", ["idle", "running"])
def test_a_change_is_journalled_and_reaches_the_hub(phase: str) -> None:
    core = running()
    if phase == "idle":
        core.hear(hub.TurnDone(core.turn_id))
    change: dict[str, str | None] = {"model": "echo-2", "permission_mode": "plan", "effort": "high"}
    assert core.do(Configure(change), "mac") == ["session_updated"]
    assert (core.events[0].device_id, core.events[0].turn_id, told(core).applies) == ("mac", None, "now")
    assert core.setups == [Setup("echo-2", "plan", "high")]
    core.reload()
    settings = core.state.settings
    assert (settings.workspace, settings.model, settings.permission_mode) == ("/w", "echo-2", "plan")
    core.do(Configure({"model": None}), "phone")
    assert core.setups == [Setup(None, "plan", "high")]


def test_a_change_of_nothing_is_answered_too() -> None:
    core = running()
    assert core.do(Configure({})) == ["session_updated"]
    assert told(core).applies == "now"


def test_before_an_offer_all_may_be_chosen_but_bypass() -> None:
    core = Core()
    assert core.do(Configure({"model": "whatever"})) == ["session_updated"]
    assert told(core).applies == "next_turn"
    core.do(Configure({"permission_mode": "bypassPermissions"}))
    assert core.reply_word == "rejected bypass_disabled"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "gpt"}, "bad_setting"),
        ({"permission_mode": "yolo"}, "bad_setting"),
        ({"effort": "huge"}, "bad_setting"),
        ({"model": "echo-2", "effort": "huge"}, "bad_setting"),
        ({"permission_mode": "bypass"}, "bypass_disabled"),
    ],
)
def test_a_refused_change_changes_nothing(change: dict[str, str | None], code: str) -> None:
    core = running()
    before = core.state.settings
    assert core.do(Configure(change)) == []
    assert core.reply_word == f"rejected {code}"
    assert (core.state.settings, core.setups) == (before, [])


def test_a_flood_of_changes_is_refused() -> None:
    core = running()
    for _ in range(MAX_CHANGES):
        core.do(Configure({"effort": "low"}))
    core.do(Configure({"effort": "low"}))
    assert core.reply_word == "rejected too_many"


def noted(core: Core) -> list[NoteInAudit]:
    """Return what the newest command left in the audit."""
    return [effect for effect in core.effects if isinstance(effect, NoteInAudit)]


def test_bypass_is_taken_if_allowed_and_audited_once() -> None:
    core = running(bypass=True)
    assert core.do(Configure({"permission_mode": "bypass"}), "mac") == ["session_updated"]
    assert noted(core) == [NoteInAudit("bypass_chosen", "key-of-mac", "bypass")]
    core.do(Configure({"permission_mode": "bypass", "effort": None}), "mac")
    assert noted(core) == [], "nothing new"
    core.do(Configure({"permission_mode": "plan"}), "mac")
    assert noted(core) == []


def test_bypass_that_comes_with_an_answer_is_audited() -> None:
    core = running(bypass=True)
    ask(core, "p1", modes=("bypass",))
    core.do(Decide("p1", "allow", mode="bypass", drives=True), "mac")
    assert noted(core) == [NoteInAudit("bypass_chosen", "key-of-mac", "bypass")]


def test_a_mode_answers_the_open_requests_that_name_it() -> None:
    core = running()
    ask(core, "p1", modes=("edits",))
    ask(core, "p2", modes=("auto",))
    assert core.do(Configure({"permission_mode": "edits"}), "mac") == [
        "session_updated",
        "permission_resolved",
    ]
    assert core.events[1].event == PermissionResolved("p1", "allow", "mac", note="mode edits")
    assert core.order_words == ["decided"]
    assert core.state.turn is not None
    assert list(core.state.turn.requests) == ["p2"]


def test_a_request_older_than_the_mode_is_answered() -> None:
    core = running()
    core.do(Configure({"permission_mode": "edits"}), "mac")
    for _ in range(2):
        assert ask(core, "p1", modes=("edits",)) == ["permission_requested", "permission_resolved"]
        assert core.events[1].device_id == "mac"
        core.reload()
        core.hub_seq = core.state.hub_seq
        core.state.turn.decided.clear()  # type: ignore[union-attr]


def test_a_mode_that_the_agent_chose_answers_nothing() -> None:
    core = running()
    core.hear(hub.SettingsTold(None, {"permission_mode": "edits"}))
    assert ask(core, "p1", modes=("edits",)) == ["permission_requested"]


def test_an_answer_with_a_mode_switches_and_answers_the_others() -> None:
    core = running()
    ask(core, "p1", modes=("edits",))
    ask(core, "p2", modes=("edits",))
    events = core.do(Decide("p1", "allow", mode="edits", drives=True), "mac")
    assert events == ["permission_resolved", "session_updated", "permission_resolved"]
    assert core.state.settings.permission_mode == "edits"
    assert core.setups == [Setup(permission_mode="edits")]


@pytest.mark.parametrize(("mode", "code"), [("yolo", "bad_setting"), ("bypass", "bypass_disabled")])
def test_an_impossible_mode_leaves_the_request_open(mode: str, code: str) -> None:
    core = running()
    ask(core, "p1")
    assert core.do(Decide("p1", "allow", mode=mode, drives=True)) == []
    assert core.reply_word == f"rejected {code}"
    assert core.do(Decide("p1", "deny")) == ["permission_resolved"]


def test_what_the_agent_refuses_is_told_and_does_not_stay() -> None:
    core = running()
    core.do(Configure({"permission_mode": "auto"}))
    events = core.hear(hub.SettingsTold(None, {"permission_mode": None}, "no auto here"))
    assert events == ["notice", "session_updated"]
    assert core.events[0].event.code == "setting_failed"  # type: ignore[union-attr]
    assert (core.state.settings.permission_mode, core.events[1].device_id) == (None, None)


def test_an_agents_own_mode_is_kept_up_to_the_persons() -> None:
    core = running()
    assert core.hear(hub.SettingsTold(None, {"permission_mode": "plan"})) == ["session_updated"]
    assert core.hear(hub.SettingsTold(None, {"permission_mode": "plan"})) == []
    assert core.hear(hub.SettingsTold(None, {"permission_mode": "edits"})) == ["session_updated"]
    for _ in range(2):
        core.reload()
        assert core.state.settings.permission_mode == "edits"
    end = core.hear(hub.TurnDone(core.turn_id))
    assert end == ["d:answered", "complete", "session_updated"]
    assert core.state.settings.permission_mode == "plan"
    assert core.setups == [Setup(permission_mode="plan")]


def test_a_terminal_that_joined_leaves_its_mode_again() -> None:
    core = running()
    core.hear(hub.TurnDone(core.turn_id))
    for wanted in ("plan", None, "plan"):
        told = hub.SettingsTold(None, {"permission_mode": wanted}, at_desk=True)
        assert core.hear(told) == ["session_updated"]
        assert (core.state.settings.permission_mode, core.events[-1].device_id) == (wanted, "desk")
        core.reload()
    core.hear(hub.SettingsTold(None, {"model": "echo-2"}))
    told = hub.SettingsTold(None, {"permission_mode": "edits"}, at_desk=True)
    assert core.hear(told) == ["session_updated", "session_updated"]
    assert core.state.settings.permission_mode is None, "not more than a device chose"


def test_an_approved_plan_ends_the_planning_mode() -> None:
    core = running()
    core.do(Configure({"permission_mode": "plan"}))
    ask(core, "p1", kind="plan", input={"plan": "# P"}, editable=("plan",))
    core.do(Decide("p1", "allow"))
    core.hear(hub.SettingsTold(None, {"permission_mode": "ask"}))
    assert core.hear(hub.TurnDone(core.turn_id)) == ["d:answered", "complete"]
    assert core.state.settings.permission_mode == "ask"


def test_a_denied_plan_lets_it_leave_nothing() -> None:
    core = running()
    core.do(Configure({"permission_mode": "plan"}))
    ask(core, "p1", kind="plan", input={"plan": "# P"})
    core.do(Decide("p1", "deny"))
    core.hear(hub.SettingsTold(None, {"permission_mode": "ask"}))
    core.hear(hub.TurnDone(core.turn_id))
    assert core.state.settings.permission_mode == "plan"


def test_the_agent_s_own_changes_stale_nobody_s_message() -> None:
    core = running()
    at = core.state.head_seq
    core.hear(hub.SettingsTold(None, {"permission_mode": "plan"}))
    assert not core.state.is_foreign_after(at, "phone")
    core.do(Configure({}), "mac")
    assert core.state.is_foreign_after(at, "phone")


def test_a_grant_is_taken_back() -> None:
    core = running()
    ask(core, "p1", grant="run ls")
    core.do(Decide("p1", "allow_session"), "mac")
    ((grant, by, at),) = [(one.grant, one.by_device, one.at_ms) for one in view(core.state).grants]
    assert (grant, by) == ("run ls", "mac")
    assert at is not None
    assert core.do(RevokeGrant("run ls"), "phone") == ["session_updated"]
    assert (told(core).grants, core.setups) == ((), [Setup()])
    assert noted(core) == [NoteInAudit("grant_revoked", "key-of-phone")], "what was granted is content"
    core.reload()
    assert core.state.grants == {}
    core.do(RevokeGrant("run ls"))
    assert isinstance(core.replies[-1], Rejected)
    assert core.reply_word == "rejected unknown_grant"


def test_a_hub_too_old_for_settings_is_replaced() -> None:
    core = Core()
    core.do(Send("m1", "go"))
    old = Welcome(1, core.hub_id, 7, core.turn_id, True, ())
    core.give(type(core.ready())(core.hub_id, old))
    assert core.setups == []
    first = core.hub_id
    core.hear(hub.TurnDone(core.turn_id))
    core.do(Send("m2", "again"))
    assert [type(order) for order in core.orders] == [StopHub, StartHub]
    assert core.hub_id != first


def test_an_old_hub_that_had_no_prompt_gets_none() -> None:
    core = Core()
    core.do(Send("m1", "go"))
    old = Welcome(1, core.hub_id, 7, None, False, ())
    core.give(type(core.ready())(core.hub_id, old))
    assert [type(order) for order in core.orders] == [StopHub, StartHub]
    core.give(core.ready())
    assert [type(order) for order in core.orders] == [HandOver]


def test_a_gauge_between_two_turns_is_kept_at_once() -> None:
    core = running()
    core.hear(hub.TurnDone(core.turn_id))
    gauge = {"context": {"used": 10, "window": 100}}
    core.hear(hub.Gauged(None, gauge))
    core.reload()
    assert view(core.state).gauge == gauge


def test_a_gauge_of_a_turn_is_kept_with_the_next_change() -> None:
    core = running()
    gauge = {"context": {"used": 10, "window": 100}}
    assert core.hear(hub.Gauged(None, gauge)) == []
    assert core.orders == [Announce(GaugeMoved(gauge))]
    core.hear(hub.Gauged(None, gauge))
    assert core.orders == []
    core.do(Interrupt())
    core.reload()
    assert view(core.state).gauge == gauge
    core.hear(hub.Gauged(None, {"x": "y" * 20_000}))
    assert orjson.dumps(view(core.state).gauge) == b"{}"
