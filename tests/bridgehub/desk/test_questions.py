"""A terminal's question as the hook brings it, and what the hook prints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridgehub.desk.questions import answer_of, read_question
from tests.bridgehub.desk.transcripts import uid


def line(tool: str, given: Any, **more: Any) -> bytes:
    row = {
        "hook_event_name": "PermissionRequest",
        "session_id": uid(1),
        "tool_name": tool,
        "tool_input": given,
    }
    return json.dumps({**row, **more}).encode() + b"\n"


def printed(tool: str, given: Any, decision: str, **more: Any) -> Any:
    question = read_question(line(tool, given))
    assert question is not None
    answer = answer_of(question, decision, more.get("note"), more.get("answers"))
    return json.loads(answer)["hookSpecificOutput"]["decision"] if answer else None


def test_questions_have_words_for_a_person() -> None:
    question = read_question(line("Bash", {"command": "ls"}))
    assert question is not None
    assert (question.native_id, question.words.kind, question.words.title) == (uid(1), "command", "Run ls")
    long = read_question(line("Bash", {"command": "x" * 100_000}))
    assert long is not None
    assert isinstance(long.shown, str)
    assert len(long.shown) == 64 * 1024
    asked = [{"question": "Which colour?", "options": [{"label": "Blue"}]}]
    assert read_question(line("AskUserQuestion", {"questions": asked})).words.kind == "question"  # type: ignore[union-attr]


def test_answers_are_in_the_hooks_form() -> None:
    assert printed("Bash", {"command": "ls"}, "allow") == {"behavior": "allow"}
    assert printed("Bash", {"command": "ls"}, "deny", note="no") == {"behavior": "deny", "message": "no"}
    assert printed("Bash", {"command": "ls"}, "cancelled") is None
    plan = {"plan": "# The plan"}
    assert printed("ExitPlanMode", plan, "allow") == {"behavior": "allow", "updatedInput": plan}
    asked = {"questions": [{"question": "Which?"}]}
    chosen = {"Which?": "Blue"}
    told = printed("AskUserQuestion", asked, "allow", answers=chosen)
    assert told == {"behavior": "allow", "updatedInput": {**asked, "answers": chosen}}


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"\xff\n",
        b"[]\n",
        line("Bash", "x"),
        line("Bash", {}, session_id="../x"),
        line("Bash", {}, hook_event_name="Stop"),
        line("Bash", {}, tool_name=5),
    ],
)
def test_anything_else_is_no_question(odd: bytes) -> None:
    assert read_question(odd) is None
