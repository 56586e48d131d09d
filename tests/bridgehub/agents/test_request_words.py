"""One line of plain words for each kind of request."""

from __future__ import annotations

from typing import Any

import pytest

from bridgehub.agents.request_words import MAX_TITLE_CHARS, plain_words


@pytest.mark.parametrize(
    ("tool", "tool_input", "kind", "title"),
    [
        ("Bash", {"command": "git status"}, "command", "Run git status"),
        ("shell", {"command": "ls\n -l", "cwd": "/w"}, "command", "Run ls -l"),
        ("shell", {}, "command", "Run a command"),
        ("Edit", {"file_path": "/w/a.py"}, "edit", "Edit /w/a.py"),
        ("Write", {"file_path": "/w/a.py"}, "edit", "Write /w/a.py"),
        ("apply_patch", {"changes": [{"path": "a"}, {"path": "b"}]}, "edit", "Edit a, b"),
        ("apply_patch", {"changes": [{"path": str(n)} for n in range(4)]}, "edit", "Edit 4 files"),
        ("apply_patch", {}, "edit", "Edit files"),
        ("Read", {"file_path": "/etc/hosts"}, "read", "Read /etc/hosts"),
        ("WebFetch", {"url": "http://localhost/"}, "fetch", "Open http://localhost/"),
        ("WebSearch", {"query": "tides"}, "fetch", "Search the web for tides"),
        ("network", {"host": "localhost"}, "fetch", "Open localhost"),
        ("mcp__toy__draw", {"shape": 1}, "mcp", "Use draw of toy"),
        ("mcp__toy", {}, "mcp", "Answer toy"),
        ("ExitPlanMode", {"plan": "# P"}, "plan", "Carry out the plan"),
        ("permissions", {"reason": "to build"}, "other", "Use permissions: to build"),
        ("Skill", "cut to a text", "other", "Use Skill"),
    ],
)
def test_the_words_of_a_tool(tool: str, tool_input: Any, kind: str, title: str) -> None:
    words = plain_words(tool, tool_input)
    assert (words.kind, words.title) == (kind, title)


def test_a_question_is_told_in_its_own_words() -> None:
    questions = [{"question": "Which colour?"}, {"question": "Which size?"}]
    words = plain_words("AskUserQuestion", {"questions": questions}, questions)
    assert (words.kind, words.title) == ("question", "Which colour? (and 1 more)")
    assert plain_words("mcp__toy", {}, ["odd"]).title == "Answer a question"


def test_a_long_title_is_cut() -> None:
    title = plain_words("Bash", {"command": "x" * 10_000}).title
    assert len(title) == MAX_TITLE_CHARS
    assert title.endswith("…")
