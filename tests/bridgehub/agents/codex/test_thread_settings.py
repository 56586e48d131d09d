"""What a terminal changes in a thread that it shares, and what a turn of ours then sends."""

from __future__ import annotations

from typing import Any

from bridgehub.agents.codex.start import StartSettings
from bridgehub.agents.codex.thread_settings import ThreadSettings
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.protocol.hub_spec import Setup

WRITE = {"type": "workspaceWrite", "writableRoots": []}
DANGER = {"type": "dangerFullAccess"}
READ = {"type": "readOnly"}

OPENED = StartSettings("on-request", None, None)


def thread(mode: str | None = None, **told: Any) -> ThreadSettings:
    start = {"model": "one", "approvalPolicy": "on-request", "approvalsReviewer": "user", "sandbox": WRITE}
    settings = ThreadSettings.of_start(Fields(start | told), OPENED, None, mode)
    settings.efforts = {"one": "medium", "two": "low"}
    return settings


def told(mode: str = "default", **changes: Any) -> Fields:
    now = {"model": "one", "effort": None, "approvalPolicy": "on-request", "approvalsReviewer": "user"}
    return Fields(now | {"sandboxPolicy": WRITE, "collaborationMode": {"mode": mode}} | changes)


def test_a_terminals_model_and_effort_are_news_once() -> None:
    settings = thread()
    assert settings.note(told()) == {}
    assert settings.note(told(model="two", effort="high")) == {"model": "two", "effort": "high"}
    assert settings.note(told(model="two", effort="high")) == {}
    assert settings.note(told(model="two", effort="low")) == {"effort": None}
    assert settings.overrides(Setup("one"), OPENED) == {"model": "one"}


def test_a_models_own_effort_is_no_news() -> None:
    settings = thread()
    assert settings.note(told(effort="medium")) == {}
    assert settings.note(told(model="two", effort="low")) == {"model": "two", "effort": None}


def test_what_a_turn_of_ours_changed_is_no_news() -> None:
    settings = thread()
    assert settings.overrides(Setup("two", "plan"), StartSettings("on-request", None, "two"))
    assert settings.note(told("plan", model="two", effort="medium")) == {}
    assert settings.note(told("plan", model="one", effort="medium")) == {"model": "one", "effort": None}


def test_plan_mode_is_entered_and_left_in_a_terminal() -> None:
    settings = thread("untrusted", approvalPolicy="untrusted")
    assert settings.note(told("plan", approvalPolicy="untrusted", effort="high")) == {
        "permission_mode": "plan"
    }
    assert settings.note(told(approvalPolicy="untrusted")) == {"permission_mode": "untrusted"}


def test_a_thread_that_was_resumed_in_plan_mode_leaves_it() -> None:
    settings = thread("acceptEdits", collaborationMode={"mode": "plan"})
    sent = settings.overrides(Setup("one", "acceptEdits"), OPENED)
    assert sent["collaborationMode"]["mode"] == "default"
    assert settings.note(told()) == {}


def test_rights_of_a_terminal_are_not_kept_for_our_turns() -> None:
    settings = thread()
    wide = told(approvalPolicy="never", sandboxPolicy=DANGER)
    assert settings.note(wide) == {"permission_mode": "bypassPermissions"}
    sent = settings.overrides(Setup(), StartSettings(None, None, None))
    assert sent == {"approvalPolicy": "on-request", "sandboxPolicy": WRITE}
    assert settings.note(told()) == {}
    assert settings.note(told(sandboxPolicy=READ)) == {"permission_mode": "read-only"}


def test_a_terminals_reviewer_does_not_review_our_turns() -> None:
    settings = thread()
    assert settings.note(told(approvalsReviewer="auto_review")) == {}
    assert settings.overrides(Setup(), OPENED) == {"approvalsReviewer": "user"}
    assert settings.overrides(Setup(), OPENED) == {}


def test_an_answer_of_an_older_program_changes_nothing() -> None:
    settings = thread()
    assert settings.note(Fields()).get("model") is None
    assert settings.overrides(Setup(), StartSettings(None, None, None))["approvalPolicy"] == "on-request"
