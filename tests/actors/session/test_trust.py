"""What a session does with a request of kind `trust`: it stands between `handed` and `consumed`."""

from __future__ import annotations

from typing import Any

import pytest

from actors.commands import Decide, Interrupt, Send
from actors.events.permissions import PermissionRequested
from actors.session.apply import DECLINED_KEPT
from actors.session.effects import ForgetHub, NoteInAudit, StartHub
from actors.session.steps.hub_life_steps import MAX_ASKED_AGAIN
from bridgehub.protocol import events as hub
from bridgehub.protocol.requests import TRUST, trust_input
from tests.actors.core import Core

RUNS = [{"kind": "hook", "name": "SessionStart", "from": ".claude/settings.json"}]


def asking(core: Core, request_id: str = "p1", folder: str = "/w", **fields: Any) -> hub.PermissionAsked:
    asked = trust_input("claude", folder, RUNS, 0)
    given = {"options": ("allow", "deny"), "kind": TRUST, "title": "Trust it?", **fields}
    return hub.PermissionAsked(core.turn_id, request_id, TRUST, asked, **given)


def waiting() -> Core:
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    assert core.hear(asking(core)) == ["permission_requested"], "the agent has taken nothing"
    assert core.state.word == "waiting"
    return core


def trusts(decision: Any, request_id: str = "p1", *, drives: bool = True) -> Decide:
    return Decide(request_id, decision, drives=drives)


def test_a_request_shows_what_would_run() -> None:
    core = waiting()
    core.reload()
    assert core.state.turn is not None
    request = core.state.turn.requests["p1"]
    assert isinstance(request, PermissionRequested)
    assert (request.about, request.input["folder"], request.input["runs"]) == (TRUST, "/w", RUNS)
    assert (request.options, request.modes, request.editable) == (("allow", "deny"), (), ())


@pytest.mark.parametrize("decision", ["allow", "deny", "allow_session"])
def test_it_needs_the_scope_drive_and_is_audited(decision: str) -> None:
    core = waiting()
    core.do(trusts(decision, drives=False))
    assert core.reply_word == "rejected forbidden"
    assert core.state.word == "waiting"
    assert core.do(trusts(decision), "mac") == ["permission_resolved"]
    act = "folder_not_trusted" if decision == "deny" else "folder_trusted"
    assert [effect for effect in core.effects if isinstance(effect, NoteInAudit)] == [
        NoteInAudit(act, "key-of-mac", "/w")
    ]
    assert core.hear(hub.Consumed(core.turn_id)) == ["d:consumed"]


def test_a_no_holds_for_the_session_and_is_kept() -> None:
    core = waiting()
    core.do(trusts("deny"))
    core.reload()
    assert tuple(core.state.declined) == ("claude /w",)


@pytest.mark.parametrize("decision", ["allow", "allow_session"])
def test_a_yes_is_no_matter_of_the_session(decision: str) -> None:
    core = waiting()
    core.do(trusts(decision))
    assert not core.state.declined
    assert not core.state.grants


def test_a_no_is_not_kept_if_settings_cannot_be_left_out() -> None:
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    core.hear(asking(core, options=("allow",)))
    core.do(trusts("deny"))
    assert not core.state.declined


def test_what_is_declined_is_bounded() -> None:
    core = waiting()
    core.do(trusts("deny"))
    for number in range(DECLINED_KEPT):
        core.hear(asking(core, f"q{number}", f"/w{number}"))
        core.do(trusts("deny", f"q{number}"))
    assert len(core.state.declined) == DECLINED_KEPT
    assert "claude /w" not in core.state.declined


@pytest.mark.parametrize("reload", [False, True])
def test_a_dead_hub_gives_way_to_one_that_asks_again(reload: bool) -> None:
    core = waiting()
    if reload:
        core.reload()
    old = core.hub_id
    assert core.give(core.gone(last_prompt=core.turn_id)) == ["permission_resolved"]
    assert core.orders == [ForgetHub(old), StartHub(core.hub_id)]
    assert core.state.resolved == {"p1": None}
    core.give(core.ready())
    assert core.order_words == ["prompt"]
    core.hub_seq = 0
    assert core.hear(asking(core, "p2")) == ["permission_requested"]
    core.do(trusts("allow", "p2"))
    assert core.hear(hub.Consumed(core.turn_id)) == ["d:consumed"]


def test_hubs_that_die_again_and_again_end_the_turn() -> None:
    core = waiting()
    for number in range(MAX_ASKED_AGAIN):
        assert core.give(core.gone(last_prompt=core.turn_id)) == ["permission_resolved"]
        core.give(core.ready())
        core.hub_seq = 0
        core.hear(asking(core, f"q{number}"))
    words = ["permission_resolved", "d:unknown", "error unknown_outcome"]
    assert core.give(core.gone(last_prompt=core.turn_id)) == words


def test_a_hub_that_dies_after_its_answer_had_the_message() -> None:
    core = waiting()
    core.do(trusts("allow"))
    words = ["d:unknown", "error unknown_outcome"]
    assert core.give(core.gone(last_prompt=core.turn_id)) == words


def test_an_interrupt_cancels_it_and_nothing_was_taken() -> None:
    core = waiting()
    assert core.do(Interrupt()) == ["permission_resolved"]
    assert core.order_words == ["interrupt"]
    assert core.hear(hub.TurnStopped(core.turn_id)) == ["d:interrupted", "interrupted"]


def test_a_delegate_asks_in_a_turn_that_was_taken() -> None:
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    assert core.hear(asking(core, task_id="k1")) == ["d:consumed", "permission_requested"]
    words = ["permission_resolved", "d:failed", "error agent_exited"]
    assert core.give(core.gone(last_prompt=core.turn_id)) == words
