"""What a person allows on a terminal is what the person saw, for every kind of request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builderos.client.requests import COLUMNS, SHOWN, SHOWN_LINES, Replied, WaitingRequests


def asked(requests: WaitingRequests, request_id: str = "r", **item: Any) -> str:
    return requests.add(request_id, {"request_id": request_id, "tool": "Bash", **item})


def refusals(requests: WaitingRequests) -> str:
    assert requests.shown is not None
    return "".join(letter for letter in "yna" if requests.waiting[requests.shown].refusal(letter) is None)


@pytest.mark.parametrize(
    "item",
    [
        {"tool": "Bash", "input": {"command": "ls" + " " * 700 + "; rm -rf ~", "description": "lists"}},
        {"tool": "Bash", "input": {"command": "ls" + "\n" * 700 + "; rm -rf ~"}},
        {"tool": "Bash", "input": {"command": "ls #" + "\t" * 300 + "\u2003" * 300 + "\n; rm -rf ~"}},
        {"tool": "shell", "input": {"command": "ls", "cwd": "/" + "x" * 900 + "; rm -rf ~"}},
        {"tool": "Edit", "input": {"file_path": "a", "old_string": "x" * 1500, "new_string": "y; rm -rf ~"}},
        {"tool": "apply_patch", "input": {"changes": [{"path": "p" * 100, "diff": "+; rm -rf ~"}]}},
        {"tool": "mcp__a__b", "input": {"z": {"deep": ["x" * 200, "; rm -rf ~"]}}},
        {"tool": "ExitPlanMode", "input": {"plan": "1. do\n" * 30 + "; rm -rf ~"}},
        {"tool": "AskUserQuestion", "input": {}, "questions": [{"question": "q" * 400 + "; rm -rf ~"}]},
        {"tool": "relay", "input": "word " * 300 + "; rm -rf ~"},
    ],
)
def test_the_end_of_what_will_run_is_shown(item: dict[str, Any]) -> None:
    requests = WaitingRequests()
    text = asked(requests, **item)
    joined = "".join(line.removeprefix("? ") for line in text.split("\n"))
    assert "; rm -rf ~" in joined
    assert "y" in refusals(requests)
    lines = text.split("\n")
    assert all(line.startswith("? ") and len(line) <= COLUMNS + 2 for line in lines)
    assert len(lines) <= SHOWN_LINES


@pytest.mark.parametrize(
    "item",
    [
        {"input": {"command": "x" * (SHOWN + 1)}},
        {"input": {"command": "x\n" * (SHOWN_LINES + 1)}},
        {"input": "\n" * (2 * SHOWN) + "rm"},
        {"input": {"clipped": "nested over 64 levels"}},
        {"input": '{"command": "ls', "cut": True},
        {"input": {}, "questions": [{"question": "x" * (SHOWN + 1)}]},
    ],
)
def test_what_is_not_shown_whole_cannot_be_allowed(item: dict[str, Any]) -> None:
    requests = WaitingRequests()
    text = asked(requests, grant="all of it", **item)
    assert "cannot be allowed here" in text.split("\n")[-1]
    assert "allow it?" not in text
    assert refusals(requests) == "n"


def test_what_the_session_is_granted_stands_beside_its_letter() -> None:
    requests = WaitingRequests()
    text = asked(requests, input={"command": "git commit"}, grant="run git commit * and edit files unasked")
    assert text.split("\n") == [
        '? Bash {"command":"git commit"}',
        "? a allows, for this session:",
        "?   run git commit * and edit files unasked",
        "? allow it? y, n, or a for this session",
    ]
    assert refusals(requests) == "yna"


def test_the_session_is_not_offered_without_a_grant() -> None:
    requests = WaitingRequests()
    assert asked(requests, input={"command": "ls"}).endswith("\n? allow it? y or n")
    assert refusals(requests) == "yn"


def test_one_request_stands_as_the_question_until_it_is_decided() -> None:
    requests = WaitingRequests()
    asked(requests, "r1", input="one")
    assert asked(requests, "r2", input="two") == "— another request waits: Bash two —"
    assert requests.shown == "r1", "a letter answers what stands as the question"
    about, question = requests.remove("r1")
    assert (about, question.split("\n")[0], requests.shown) == ("Bash one", "? Bash two", "r2")
    assert asked(requests, "r3", input="three").startswith("— another")
    assert requests.remove("r3") == ("Bash three", "")
    assert requests.remove("r2") == ("Bash two", "")
    assert requests.remove("r2") == ("the request", "")


def test_attaching_shows_the_oldest_request() -> None:
    requests = WaitingRequests()
    items = [{"request_id": f"r{n}", "tool": "Bash", "input": f"{n}"} for n in range(3)]
    assert requests.reset(items).startswith("? Bash 0\n")
    assert requests.shown == "r0"
    assert requests.reset([]) == ""
    assert requests.shown is None


@given(st.text(), st.text(), st.text())
def test_no_text_can_look_like_a_line_of_ours(tool: str, command: str, grant: str) -> None:
    requests = WaitingRequests()
    text = asked(requests, tool=tool, input={"command": command}, grant=grant)
    assert all(line.startswith("? ") for line in text.split("\n"))
    assert text.isprintable() or set(filter(lambda char: not char.isprintable(), text)) <= {"\n"}


def test_an_option_of_the_agents_own_is_chosen_by_its_number() -> None:
    requests = WaitingRequests()
    options = ["allow", "deny", "Always in this folder", "Reject\x1b[2J always"]
    text = asked(requests, input={"command": "ls"}, options=options)
    assert "?   1 Always in this folder" in text.split("\n")
    assert "\x1b" not in text
    assert requests.option("1") == ("r", "Always in this folder")
    assert requests.option("2") == ("r", "Reject\x1b[2J always")
    assert [requests.option(line) for line in ("0", "3", "y", "²", "")] == [None] * 5
    requests.reset([{"request_id": "r", "tool": "Bash", "input": "x" * (SHOWN + 1), "options": options}])
    assert requests.option("1") is None


def test_a_question_is_answered_by_numbers_or_in_words() -> None:
    requests = WaitingRequests()
    colours = [{"label": "Red", "description": "like fire " * 30}, {"label": "Blue"}]
    asks = [
        {"question": "Which colour?", "options": colours, "multiSelect": False},
        {"question": "Which sizes?", "options": [{"label": "S"}, {"label": "M"}], "multiSelect": True},
        {"question": "How many?"},
    ]
    text = asked(requests, "r1", tool="AskUserQuestion", input={"questions": asks}, questions=asks)
    assert text.split("\n")[0] == "? (1 of 3) Which colour?"
    joined = "".join(line.removeprefix("? ") for line in text.split("\n"))
    assert "1 Red - " + "like fire " * 30 in joined, "nothing is cut"
    assert requests.reply("3") == Replied("r1", shown="— there is no such option —")
    assert requests.reply("1,2") == Replied("r1", shown="— there is no such option —")
    second = requests.reply("2")
    assert second is not None
    assert "? (2 of 3) Which sizes?" in second.shown
    third = requests.reply("1, 2")
    assert third is not None
    assert third.shown.split("\n")[0] == "? (3 of 3) How many?"
    answers = {"Which colour?": "Blue", "Which sizes?": "S, M", "How many?": "7"}
    assert requests.reply("7") == Replied("r1", answers)


def test_a_question_is_declined_below_what_its_mcp_server_says() -> None:
    requests = WaitingRequests()
    given = {"message": "The shop wants to know", "url": None}
    text = asked(requests, "r1", tool="mcp__shop", input=given, questions=[{"question": "Name"}])
    assert text.startswith('? mcp__shop {"message":"The shop wants to know"')
    assert requests.reply("n") is None
    declined = requests.answer_in("n")
    assert declined is not None
    assert (declined.request_id, declined.letter) == ("r1", "n")


def test_a_plan_has_the_agent_s_own_answers_by_number() -> None:
    requests = WaitingRequests()
    text = asked(
        requests, kind="plan", input={"plan": "# P"}, options=["allow", "deny", "Yes, and ask", "Yes, all"]
    )
    assert text.split("\n")[-3:-1] == ["?   1 Yes, and ask", "?   2 Yes, all"]
    assert requests.option("2") == ("r", "Yes, all")
    assert requests.option("3") is None
