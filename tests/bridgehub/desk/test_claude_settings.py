"""What a person sets in a terminal of Claude Code is known from its transcript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bridgehub.desk.claude_files import ClaudeFiles
from bridgehub.desk.looking import look_at_claude
from bridgehub.desk.records import DeskMark
from builderos.ids import wall_clock_ms
from tests.bridgehub.desk.transcripts import Transcript

ONE = "11111111-1111-4111-8111-111111111111"

Look = Callable[[], dict[str, str]]


@pytest.fixture
def made() -> Transcript:
    return Transcript()


@pytest.fixture
def look(tmp_path: Path, made: Transcript) -> Look:
    """Return what somebody chose since the last look."""
    path, files = made.write(tmp_path, ONE), ClaudeFiles(tmp_path, wall_clock_ms)
    mark: DeskMark | None = None

    def look() -> dict[str, str]:
        nonlocal mark
        path.write_bytes(made.data())
        seen = look_at_claude(files, tmp_path, [ONE], mark, is_open=False)
        mark = seen.mark
        return dict(seen.settings)

    return look


def test_what_a_terminal_confirms_is_known_with_the_next_answer(made: Transcript, look: Look) -> None:
    """Not before, since only the answer has the model's own name."""
    made.user("<local-command-stdout>Set model to `Two` and saved as your default</local-command-stdout>")
    assert look() == {}
    made.user("go on")
    made.says("Yes.", requestedModel="two", effort="low")
    assert look() == {"model": "two"}
    made.user("<local-command-stdout>Set effort level to low (saved as your default)</local-command-stdout>")
    made.user("go on")
    made.says("Yes.", requestedModel="two", effort="low")
    assert look() == {"effort": "low"}


def test_an_answer_shows_what_was_chosen_during_another(made: Transcript, look: Look) -> None:
    """The program writes no row then."""
    made.user("hello")
    made.says("Hi.", requestedModel="one", effort="medium")
    assert look() == {}
    made.user("go on")
    made.says("Yes.", requestedModel="two", effort="medium")
    assert look() == {"model": "two"}
    made.user("go on")
    made.says("Yes.", requestedModel="two", effort="high")
    made.says("More.", requestedModel="two", effort="high")
    assert look() == {"effort": "high"}
    made.user("go on")
    made.says("Yes.", requestedModel="two", effort={"not": "a word"})
    assert look() == {}


def test_what_ours_was_given_is_nothing_that_a_terminal_chose(made: Transcript, look: Look) -> None:
    made.user("hello")
    made.says("Hi.", requestedModel="one", effort="medium")
    made.entrypoint = "builderos"
    made.user("<local-command-stdout>Set model to `Three`</local-command-stdout>")
    made.says("Ours.", requestedModel="three", effort="high")
    assert look() == {}
    made.entrypoint = "cli"
    made.user("go on")
    made.says("Theirs.", requestedModel="four", effort="low")
    assert look() == {}
    made.user("go on")
    made.says("Theirs.", requestedModel="one", effort="low")
    assert look() == {"model": "one"}


def test_more_thought_for_one_turn_is_not_chosen(made: Transcript, look: Look) -> None:
    made.user("hello")
    made.says("Hi.", requestedModel="one", effort="medium")
    made.user("ultrathink about it")
    made.add("attachment", attachment={"type": "ultrathink_effort"})
    assert look() == {}
    made.says("Yes.", requestedModel="one", effort="xhigh")
    made.user("<task-notification>done</task-notification>")
    made.user("<system-reminder>It is late.</system-reminder>", isMeta=True)
    made.says("Indeed.", requestedModel="one", effort="xhigh")
    assert look() == {}
    made.user("go on")
    made.says("Yes.", requestedModel="one", effort="medium")
    assert look() == {}
    made.user("go on")
    made.says("Yes.", requestedModel="one", effort="low")
    assert look() == {"effort": "low"}


def test_an_effort_that_was_set_waits_for_an_answer_that_has_it(made: Transcript, look: Look) -> None:
    made.user("<local-command-stdout>Set effort level to low</local-command-stdout>")
    made.user("ultrathink about it")
    made.add("attachment", attachment={"type": "ultrathink_effort"})
    made.says("Yes.", requestedModel="one", effort="xhigh")
    assert look() == {}
    made.user("go on")
    made.says("Yes.", requestedModel="one", effort="low")
    assert look() == {"effort": "low"}


def test_a_model_for_planning_alone_is_not_chosen(made: Transcript, look: Look) -> None:
    made.user("plan it", permissionMode="plan")
    made.says("So.", requestedModel="planner")
    look()
    made.user("do it", permissionMode="default")
    made.says("Done.", requestedModel="doer")
    assert look() == {"permission_mode": "default"}
    made.user("go on", permissionMode="default")
    made.says("Yes.", requestedModel="other")
    assert look() == {"permission_mode": "default", "model": "other"}


def test_the_mode_of_a_terminal_comes_with_a_message_and_its_end(made: Transcript, look: Look) -> None:
    made.user("go on", permissionMode="plan")
    assert look() == {"permission_mode": "plan"}
    made.other({"type": "permission-mode", "permissionMode": "acceptEdits", "sessionId": ONE})
    assert look() == {"permission_mode": "acceptEdits"}
    made.entrypoint = "builderos"
    made.user("from the phone", permissionMode="plan")
    made.add("user", isSidechain=True, message={"content": "a sub-agent's"}, permissionMode="plan")
    made.other({"type": "permission-mode", "permissionMode": {"not": "a word"}})
    assert look() == {}
