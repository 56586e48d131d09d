"""A plain terminal's question, as Claude Code's hook brings it, and the answer that it prints. Pure but for a file."""

from __future__ import annotations

from typing import Any

import attrs
import orjson

from bridgehub.agents.claude.translate.edits import wanted_diff
from bridgehub.agents.request_words import RequestWords, plain_words
from bridgehub.desk.claude_rows import row_id
from bridgehub.protocol.limits import is_flat

__all__ = ["DeskQuestion", "answer_of", "read_question"]

MAX_INPUT = 64 * 1024
"""JSON of an input that is shown whole; of a longer one its beginning as text."""


@attrs.frozen
class DeskQuestion:
    """A question. `input` is the tool's own, `shown` what devices see of it."""

    native_id: str
    tool: str
    input: dict[str, Any]
    shown: Any
    questions: Any
    words: RequestWords


def read_question(line: bytes) -> DeskQuestion | None:
    """Return the question of a line; None if it is none. Blocks: it reads the file that an edit would change."""
    try:
        row = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or row.get("hook_event_name") != "PermissionRequest":
        return None
    native_id, tool, given = row_id(row.get("session_id")), row.get("tool_name"), row.get("tool_input")
    if not native_id or not isinstance(tool, str) or not isinstance(given, dict) or not is_flat(given):
        return None
    text = orjson.dumps(given)
    shown: Any = given if len(text) <= MAX_INPUT else text[:MAX_INPUT].decode(errors="replace")
    questions = given.get("questions") if tool == "AskUserQuestion" and shown is given else None
    words = plain_words(tool[:200], given, questions)
    diff = wanted_diff(tool, given)
    if diff is not None and len(orjson.dumps(diff)) <= MAX_INPUT:
        words = attrs.evolve(words, diff=diff)
    return DeskQuestion(native_id, tool[:200], given, shown, questions, words)


def answer_of(question: DeskQuestion, decision: str, note: str | None, answers: object) -> bytes:
    """Return what the hook prints for a person's decision; nothing if nobody decided."""
    if decision in ("allow", "allow_session"):
        told: dict[str, Any] = {"behavior": "allow"}
        if isinstance(answers, dict):
            told["updatedInput"] = {**question.input, "answers": answers}
        elif question.tool == "ExitPlanMode":
            told["updatedInput"] = question.input  # without it the terminal's dialog stays
    elif decision == "deny":
        told = {"behavior": "deny", "message": note or "Denied from another device."}
    else:
        return b""
    output = {"hookEventName": "PermissionRequest", "decision": told}
    return orjson.dumps({"hookSpecificOutput": output}) + b"\n"
