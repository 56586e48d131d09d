"""Requests in a terminal: a letter answers the one on the screen and no other."""

from __future__ import annotations

import pytest

from builderos.client.questions import Answer, Questions


def test_a_letter_answers_the_one_on_the_screen_and_not_the_newest() -> None:
    questions = Questions()
    assert questions.add("r1", "ls").startswith("? ls\n? allow it? y, n, or a")
    later = questions.add("r2", "rm -rf")
    assert "rm" not in later
    assert questions.read("y") == Answer("r1", "allow")
    about, asked = questions.remove("r1", by_us=True)
    assert (about, asked.splitlines()[0]) == ("ls", "? rm -rf")
    assert questions.read("N") == Answer("r2", "deny")


def test_one_that_takes_anothers_place_by_itself_wants_its_number() -> None:
    questions = Questions()
    questions.add("r1", "ls")
    questions.add("r2", "rm -rf")
    _, asked = questions.remove("r1", by_us=False)
    assert asked.splitlines()[1] == "? allow it? y 2, n 2, or a 2 for this session"
    hasty = questions.read("y")
    assert hasty is not None
    assert hasty.request_id is None
    assert "y 2" in hasty.refusal
    assert questions.read("y 2") == Answer("r2", "allow")
    assert questions.read("a  2") == Answer("r2", "allow_session")
    gone = questions.read("y 1")
    assert gone is not None
    assert gone.request_id is None


def test_an_attach_asks_what_waits_once() -> None:
    questions = Questions()
    assert questions.replace({"r1": "ls", "r2": "id"}).startswith("? ls\n")
    assert questions.replace({"r1": "ls", "r2": "id"}) == ""
    assert "y 2" in questions.replace({"r2": "id"}), "the first was decided while we were away"
    assert questions.replace({}) == ""
    assert questions.read("y") is None


@pytest.mark.parametrize("line", ["yes", "y2", "y 1234567", "ya", "y n", "/y", "y 1 "])
def test_other_lines_are_messages(line: str) -> None:
    questions = Questions()
    questions.add("r1", "ls")
    assert questions.read(line) is None
