"""What a request shows to a person, and which answers it takes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from actors.commands import Decide, Send
from actors.events.codec import decode_event, encode_event
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.session.effects import SendToHub
from bridgehub.protocol import events as hub
from bridgehub.protocol.limits import MAX_DIFF_BYTES, MAX_VALUE_BYTES
from bridgehub.protocol.messages import Decided
from tests.actors.core import Core

OPTIONS = ("allow", "deny", "allow_session")


def asked(**fields: Any) -> Core:
    """Return a session whose agent asks for something with these fields."""
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    given = {
        "tool": "bash",
        "input": {"command": "ls"},
        "options": OPTIONS,
        "editable": ("command",),
        **fields,
    }
    core.hear(hub.PermissionAsked(core.turn_id, "p1", **given))
    return core


def request_of(core: Core) -> PermissionRequested:
    assert core.state.turn is not None
    return core.state.turn.requests["p1"]


def test_a_request_keeps_its_words_over_a_reload() -> None:
    diff = [{"path": "a.txt", "patch": "@@ -1 +1 @@"}]
    core = asked(kind="edit", title="Edit a.txt", modes=("acceptEdits",), diff=diff)
    for _ in range(2):
        request = request_of(core)
        assert (request.about, request.title, request.modes) == ("edit", "Edit a.txt", ("acceptEdits",))
        assert (request.diff, request.editable) == (diff, ("command",))
        core.reload()


def test_a_kind_that_this_server_does_not_know_is_told_as_other() -> None:
    assert request_of(asked(kind="teleport")).about == "other"


def test_a_title_is_one_line_and_a_long_diff_is_left_out() -> None:
    request = request_of(asked(title="Run  a\nb\x85c", diff=["x" * MAX_DIFF_BYTES]))
    assert request.title == "Run a b c"
    assert request.diff is None


def test_a_value_that_is_shown_cut_is_not_editable() -> None:
    assert request_of(asked(input={"command": "x" * MAX_VALUE_BYTES})).editable == ()


def test_what_a_person_changed_is_recorded_and_reaches_the_hub() -> None:
    core = asked()
    core.do(Decide("p1", "allow", input={"command": "id"}, mode="acceptEdits", drives=True), "mac")
    assert core.events[0].event == PermissionResolved(
        "p1", "allow", "mac", input={"command": "id"}, mode="acceptEdits"
    )
    assert core.orders == [SendToHub(Decided("p1", "allow", input={"command": "id"}, mode="acceptEdits"))]


def test_a_denial_changes_nothing() -> None:
    core = asked()
    core.do(Decide("p1", "deny", input={"command": "id"}, mode="acceptEdits", drives=True), "mac")
    assert core.events[0].event == PermissionResolved("p1", "deny", "mac")


def test_a_refused_answer_leaves_the_request_open() -> None:
    core = asked()
    assert core.do(Decide("p1", "allow", input={"nope": "x"}, drives=True)) == []
    assert core.do(Decide("p1", "allow")) == ["permission_resolved"]


@pytest.mark.parametrize(("drives", "answer"), [(False, "rejected forbidden"), (True, "")])
def test_trust_needs_more_than_the_right_to_approve(drives: bool, answer: str) -> None:
    core = asked(kind="trust")
    core.do(Decide("p1", "allow", drives=drives))
    assert core.reply_word == answer


def test_rows_of_earlier_versions_load() -> None:
    requested = {"v": 1, "request_id": "r", "tool": "Bash", "input": {}, "options": ["allow"]}
    event = decode_event("permission_requested", orjson.dumps(requested))
    assert event == PermissionRequested("r", "Bash", {}, ("allow",))
    resolved = {"v": 1, "request_id": "r", "decision": "deny", "by_device": "mac"}
    assert decode_event("permission_resolved", orjson.dumps(resolved)) == PermissionResolved(
        "r", "deny", "mac"
    )
    assert decode_event("permission_requested", encode_event(event)) == event


OWN = (*OPTIONS, "Always in this folder", "Reject always")


def test_an_agents_own_option_is_recorded_with_its_meaning() -> None:
    core = asked(options=OWN, denying=("Reject always",))
    core.do(Decide("p1", "allow", option="Always in this folder"), "mac")
    assert core.events[0].event == PermissionResolved("p1", "allow", "mac", option="Always in this folder")
    assert core.orders == [SendToHub(Decided("p1", "allow", option="Always in this folder"))]


def test_an_option_that_denies_is_a_denial_whatever_else_is_said() -> None:
    core = asked(options=OWN, denying=("Reject always",))
    core.reload()
    core.do(Decide("p1", "allow", option="Reject always"), "mac")
    assert core.events[0].event == PermissionResolved("p1", "deny", "mac", option="Reject always")


@pytest.mark.parametrize("option", ["no such option", "allow"])
def test_an_option_that_is_not_offered_leaves_the_request_open(option: str) -> None:
    core = asked(options=OWN)
    core.do(Decide("p1", "allow", option=option), "mac")
    assert core.reply_word == "rejected bad_setting"
    assert request_of(core).options == OWN
