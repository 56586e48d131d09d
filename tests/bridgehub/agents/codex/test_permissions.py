"""Questions of Codex that the real program asks only with particular servers, features or accounts."""

from __future__ import annotations

from typing import Any

import pytest

from bridgehub.agents.codex.permissions import MAX_GRANT_CHARS, answer_of, question_of
from bridgehub.agents.codex.start import StartSettings
from bridgehub.agents.codex.translate.items import CodexToolCall
from bridgehub.agents.json_rpc.messages import Fields, ServerRequest
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Decided


def asked(method: str, **params: Any) -> ServerRequest:
    return ServerRequest(1, method, Fields(params))


def answered(request: ServerRequest, decision: Any, answers: Any = None) -> dict[str, Any]:
    question = question_of(request, ())
    assert question is not None
    return answer_of(request, question, Decided("r", decision, answers=answers))


def test_an_mcp_form_becomes_questions_and_typed_answers() -> None:
    schema = {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "description": "How large?"},
            "colour": {"type": "string", "enum": ["red", "blue"]},
            "sure": {"type": "boolean", "title": "Sure?"},
        },
    }
    request = asked(
        "mcpServer/elicitation/request", serverName="shop", message="Tell me", requestedSchema=schema
    )
    question = question_of(request, ())
    assert question is not None
    assert (question.tool, question.tool_input, question.grant) == ("mcp__shop", {"message": "Tell me"}, None)
    assert [asked["question"] for asked in question.questions or ()] == ["How large?", "colour", "Sure?"]
    answers = {"How large?": "7", "colour": "blue", "Sure?": "yes"}
    assert answered(request, "allow", answers) == {
        "action": "accept",
        "content": {"size": 7, "colour": "blue", "sure": True},
        "_meta": None,
    }
    assert answered(request, "deny")["action"] == "decline"
    assert answered(request, "cancelled")["action"] == "decline"


def test_a_question_to_the_person_is_answered_by_id() -> None:
    request = asked(
        "item/tool/requestUserInput",
        questions=[{"id": "q", "header": "Colour", "question": "Which?", "options": [{"label": "Blue"}]}],
    )
    question = question_of(request, ())
    assert question is not None
    assert question.questions == [
        {
            "question": "Which?",
            "header": "Colour",
            "options": [{"label": "Blue", "description": ""}],
            "multiSelect": False,
        }
    ]
    assert answered(request, "allow", {"Which?": "Blue"}) == {"answers": {"q": {"answers": ["Blue"]}}}
    assert answered(request, "deny") == {"answers": {}}


def test_more_rights_are_given_as_asked_and_no_longer() -> None:
    request = asked("item/permissions/requestApproval", permissions={"network": True}, reason="to fetch")
    assert answered(request, "allow") == {"permissions": {"network": True}, "scope": "turn"}
    assert answered(request, "allow_session") == {"permissions": {"network": True}, "scope": "turn"}
    question = question_of(request, ())
    assert question is not None
    assert (question.grant, question.tool_input["lasts"]) == (None, "until this turn ends")
    assert answered(request, "deny") == {"permissions": {}, "scope": "turn"}


def test_a_yes_for_a_whole_folder_says_so() -> None:
    request = asked("item/fileChange/requestApproval", itemId="1", grantRoot="/srv")
    patch = CodexToolCall(
        "1", "apply_patch", {"changes": [{"path": "/srv/a", "kind": "add", "diff": "x", "move_path": None}]}
    )
    question = question_of(request, (patch,))
    assert question is not None
    assert question.grant == "change all files below /srv"


def test_a_command_too_long_to_read_is_allowed_once_only() -> None:
    request = asked("item/commandExecution/requestApproval", command="x" * MAX_GRANT_CHARS, cwd="/")
    assert answered(request, "allow_session") == {"decision": "accept"}
    assert answered(asked(request.method, command="ls", cwd="/"), "allow_session") == {
        "decision": "acceptForSession"
    }


def test_what_nobody_can_answer_is_no_question() -> None:
    assert question_of(asked("attestation/generate"), ()) is None


@pytest.mark.parametrize(
    ("mode", "approval", "sandbox"),
    [
        (None, "untrusted", "read-only"),
        ("default", "untrusted", "read-only"),
        ("never", "never", "read-only"),
        ("workspace-write", "untrusted", "workspace-write"),
        ("acceptEdits", "on-request", "workspace-write"),
        ("plan", "on-request", "read-only"),
        ("bypassPermissions", "never", "danger-full-access"),
        ("nonsense", "nonsense", "read-only"),
    ],
)
def test_a_sessions_mode_goes_before_the_agents_table(mode: str | None, approval: str, sandbox: str) -> None:
    options = {"approval": "untrusted", "sandbox": "read-only", "model": "m"}
    spec = HubSpec("h", "s", "codex", "codex", "", "", "/w", {}, options, "x", permission_mode=mode)
    assert StartSettings.of(spec) == StartSettings(approval, sandbox, "m")


def test_a_dropped_approval_means_the_one_in_its_place() -> None:
    spec = HubSpec("h", "s", "codex", "codex", "", "", "/w", {}, {"approval": "on-failure"}, "x")
    assert StartSettings.of(spec).approval == "on-request"
