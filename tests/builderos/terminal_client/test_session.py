"""The screen of a session: what it shows, and what its keys do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events

from builderos.client.orders import OWN_COMMANDS
from builderos.terminal.app import TerminalApp
from builderos.terminal.client import Client
from builderos.terminal.screens.commands import BY_SLASH
from builderos.terminal.screens.writing import entered
from builderos.terminal.widgets.question import Question
from tests.builderos.terminal_client.stage import Stage, on_stage


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass: a key was always just pressed, and what has to come soon comes soon."""
    monkeypatch.setattr(Question, "grace_s", 0.0)
    monkeypatch.setattr(TerminalApp, "now_s", lambda self: 1000.0)


def ask(stage: Stage, request_id: str = "r1", **fields: Any) -> None:
    """Let a turn begin that asks."""
    stage.turn("do it", turn_id="t9", end="")
    known = {"tool": "Bash", "input": {"command": "ls"}, "kind": "command", "options": [], "turn_id": "t9"}
    stage.event("permission_requested", request_id=request_id, **{**known, **fields})


def test_streams_markdown_and_sends(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.turn("Hi", "Hello **y", "ou**\n\n- one\n", "- two", turn_id="t1", end="")
        shown = await stage.shown()
        assert "▌ Hi" in shown
        assert "Hello you" in shown
        assert "• two" in shown
        assert "Working" in shown
        stage.event("complete", turn_id="t1")
        await stage.press(*"What now?", "enter")
        [sent] = stage.link.of("send")
        assert (sent["session_id"], sent["content"]) == ("trip", "What now?")
        [look] = stage.link.of("focus")
        assert (look["session_id"], look["visible"], look["idle_s"]) == ("trip", True, 0)
        assert "waiting to send" in await stage.shown()
        stage.frame("accepted", message_id=sent["message_id"], seq=stage.seq + 1, duplicate=False)
        stage.turn("What now?", "This.", turn_id="t2", device_id="terminal", message_id=sent["message_id"])
        shown = await stage.shown()
        assert "waiting to send" not in shown
        assert shown.index("What now?") < shown.index("This.")
        assert "ipad" in shown, "others have their name"
        assert "▌ you" not in shown

    on_stage(tmp_path, act)


def test_tools_fold_and_unfold(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.turn("go", turn_id="t1", end="")
        stage.event("tool_started", tool_id="a", name="Bash", input={"command": "make"}, turn_id="t1")
        assert "● Run make  running" in await stage.shown()
        assert "Run make" in stage.screen.working.said
        outputs = [{"tool_id": "a", "offset": 9, "output": "more\n\x1b[31mnow\x1b[0m here\n"}]
        stage.frame("tool_output", turn_id="t1", outputs=outputs)
        shown = await stage.shown()
        assert "now here" in shown
        assert "more" not in shown
        await stage.press("ctrl+o")
        assert "…more\n" in await stage.shown()
        await stage.press("ctrl+o")
        output = "first\n\x1b[31mred\x1b[0m\nlast"
        stage.event(
            "tool_finished", tool_id="a", output=output, is_error=False, duration_ms=1200, turn_id="t1"
        )
        shown = await stage.shown()
        assert "● Run make  1.2 s · 3 lines" in shown
        assert "last" not in shown
        assert "now here" not in shown
        stage.event("thinking", content="I **think**", block="b0", offset=0, turn_id="t1")
        assert "Thinking · 2 words" in await stage.shown()
        await stage.press("ctrl+o")
        shown = await stage.shown()
        assert "red\n" in shown
        assert "I **think**" in shown
        patch = "@@ -1 +1 @@\n-old\n+new\n"
        diff = [{"path": "a.py", "status": "modified", "added": 1, "removed": 1, "patch": patch}]
        stage.event(
            "tool_started", tool_id="b", name="Edit", input={"file_path": "/code/trip/a.py"}, turn_id="t1"
        )
        stage.event("tool_finished", tool_id="b", output="ok", is_error=False, diff=diff, turn_id="t1")
        await stage.press("ctrl+o")
        shown = await stage.shown()
        assert "● Edit a.py" in shown, "the path is relative to the workspace"
        assert "-old" in shown

    on_stage(tmp_path, act)


def test_a_question_takes_single_keys(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        ask(stage, grant="run ls", editable=["command"])
        shown = await stage.shown()
        assert "Echo wants to run a command" in shown
        await stage.press("y", "y")
        assert stage.link.of("decide") == [{"session_id": "trip", "request_id": "r1", "decision": "allow"}]
        assert stage.screen.composer.text == "y", "a key after the answer is text"
        await stage.press("backspace")
        stage.event(
            "permission_resolved", request_id="r1", decision="allow", by_device="terminal", turn_id="t9"
        )
        shown = await stage.shown()
        assert "wants to" not in shown
        assert "Allowed by you · Bash" in shown
        ask(stage, "r2", editable=["command"])
        await stage.settle()
        await stage.press("tab", "e")
        assert stage.screen.composer.text == "ls"
        await stage.press(*" -l", "enter")
        edited = stage.link.of("decide")[-1]
        assert (edited["request_id"], edited["input"]) == ("r2", {"command": "ls -l"})

    on_stage(tmp_path, act)


def test_a_question_decides_nothing_while_a_person_types(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await stage.press(*"he")
        ask(stage)
        await stage.press(*"y!")
        assert stage.link.of("decide") == []
        assert stage.screen.composer.text == "hey!"
        assert "A question waits · tab answers it" in await stage.shown()
        await stage.press("tab", "r", *"too bold", "enter")
        assert stage.link.of("decide")[0]["decision"] == "deny"
        assert stage.link.of("decide")[0]["note"] == "too bold"

    on_stage(tmp_path, act)


def test_a_request_that_is_too_long_cannot_be_allowed(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        ask(stage, input={"command": "x" * 5000}, grant="anything")
        assert "too long to show here" in await stage.shown()
        await stage.press("a")
        assert stage.link.of("decide") == []

    on_stage(tmp_path, act, size=(100, 40))


def test_questions_of_the_agent_and_plans(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        options = [{"label": "red", "description": "warm"}, {"label": "blue", "description": "cold"}]
        questions = [
            {"question": "Colour?", "options": options},
            {"question": "Also?", "options": options, "multiSelect": True},
            {"question": "Why?", "options": options},
        ]
        ask(
            stage,
            tool="AskUserQuestion",
            input={"questions": questions},
            questions=questions,
            kind="question",
        )
        assert "2 blue" in await stage.shown()
        await stage.press("2", "1", "2", "enter", "o", *"because", "enter")
        answers = {"Colour?": "blue", "Also?": "red, blue", "Why?": "because"}
        assert stage.link.of("decide")[0]["answers"] == answers
        stage.event(
            "permission_resolved", request_id="r1", decision="allow", by_device="terminal", turn_id="t9"
        )
        modes = [
            {"id": "default", "kind": "ask", "name": "Ask"},
            {"id": "edits", "kind": "edits", "name": "Edit"},
        ]
        stage.frame("agent", agent={"modes": modes})
        ask(stage, "r2", tool="ExitPlanMode", kind="plan", input={"plan": "# Build it"}, editable=["plan"])
        shown = await stage.shown()
        assert "Echo has a plan" in shown
        assert "# Build it" in shown
        await stage.press("m", "down", "enter")
        assert stage.link.of("decide")[-1]["mode"] == "edits"

    on_stage(tmp_path, act)


def test_ctrl_c_empties_stops_and_leaves(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.turn("go", "on", turn_id="t1", end="")
        await stage.press("x", "ctrl+c")
        assert stage.screen.composer.text == ""
        assert stage.link.of("interrupt") == []
        await stage.press("ctrl+c")
        assert stage.link.of("interrupt") == [{"session_id": "trip", "turn_id": "t1"}]
        stage.event("interrupted", turn_id="t1", by_device="terminal")
        assert "Stopped by you" in await stage.shown()
        await stage.press("ctrl+c")
        assert stage.app._exit

    on_stage(tmp_path, act)


def test_the_queue_and_taking_back(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.turn("go", "on", turn_id="t1", end="")
        stage.event("user_message", message_id="q1", content="next", device_id="ipad", turn_id="t2")
        stage.event("delivery", message_id="q1", state="queued", turn_id="t2")
        stage.event("message", content=" and on", block="b1", offset=2, turn_id="t1")
        shown = await stage.shown()
        assert shown.index("on and on") < shown.index("▌ next"), "what waits stands at the end"
        assert "1 queued" in shown
        await stage.press("alt+up")
        assert stage.link.of("cancel") == [{"session_id": "trip", "message_id": "q1"}]
        assert stage.screen.composer.text == "next"

    on_stage(tmp_path, act)


def test_slash_words_of_the_line_printer_work_here_too(tmp_path: Path) -> None:
    assert set(OWN_COMMANDS) <= set(BY_SLASH), "else the word is sent to the agent"

    async def act(stage: Stage) -> None:
        stage.turn("go", "on", turn_id="t1", end="")
        for name in ("q1", "q2"):
            stage.event("user_message", message_id=name, content=name, device_id="ipad", turn_id=name)
            stage.event("delivery", message_id=name, state="queued", turn_id=name)
        await stage.shown()
        for word in ("/cancel 3", "/sendnow", "/cancel", "/cancel 1"):
            entered(stage.screen, word)
            await stage.settle()
        assert [frame["message_id"] for frame in stage.link.of("cancel")] == ["q2", "q1"]
        assert stage.link.of("send_now") == []
        assert stage.link.of("send") == []

    on_stage(tmp_path, act)


def test_a_text_behind_a_word_that_takes_none_is_not_lost(tmp_path: Path) -> None:
    """It goes to the agent, as in the line printer: `/compact` may take instructions."""

    async def act(stage: Stage) -> None:
        stage.turn("go", "on", turn_id="t1")
        for line in ("/compact keep the names", "/plan a bridge", "/compact ", "/rename a bridge"):
            entered(stage.screen, line)
            await stage.settle()
        sent = [frame["content"] for frame in stage.link.of("send")]
        assert sent == ["/compact keep the names", "/plan a bridge", "/compact"]
        assert [frame["title"] for frame in stage.link.of("rename")] == ["a bridge"]
        assert stage.link.of("configure") == []

    on_stage(tmp_path, act)


def test_tasks_and_todo(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.turn("go", turn_id="t1", end="")
        stage.event(
            "task_started", task_id="a", title="Look", agent_type="codex", state="running", turn_id="t1"
        )
        stage.event(
            "task_started", task_id="b", parent_task_id="a", title="Deeper", state="running", turn_id="t1"
        )
        entries = [{"content": "Plan", "status": "completed"}, {"content": "Build", "status": "in_progress"}]
        stage.event("plan_updated", entries=entries, turn_id="t1")
        shown = await stage.shown()
        assert "▶ Look" in shown
        assert "  ▶ Deeper" in shown
        assert "✔ Plan" in shown
        assert "to-do 1/2" in shown

    on_stage(tmp_path, act)


def test_pastes_lines_and_history(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        composer = stage.screen.composer
        await stage.press(*"one", "ctrl+j", *"two\\", "enter", *"three")
        assert composer.text == "one\ntwo\nthree"
        await stage.press("enter")
        text = "line\r\n" * 40_000
        composer.post_message(events.Paste(text[:-2]))
        await stage.settle()
        assert composer.text == "[Pasted text #1: 40,000 lines]"
        await stage.press("enter")
        sent = [one["content"] for one in stage.link.of("send")]
        assert sent == ["one\ntwo\nthree", "\n".join(["line"] * 40_000)]
        composer.post_message(events.Paste("x" * 1_000_000))
        await stage.press("enter")
        assert len(stage.link.of("send")) == 2, "over the limit"
        await stage.press("ctrl+c", "up", "up")
        assert composer.text == "one\ntwo\nthree"

    on_stage(tmp_path, act)


def test_escape_twice_edits_the_last_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage) -> None:
        stage.turn("first", "one", turn_id="t1")
        stage.turn("other", "two", turn_id="t2")
        asked: list[tuple[Any, ...]] = []

        async def call(_: Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
            asked.append((method, path, body))
            return {"session_id": body["session_id"]} if body else {}

        monkeypatch.setattr(Client, "call", call)
        await stage.settle()
        await stage.press("escape")
        await stage.press("escape")
        await stage.settle()
        [(method, path, body)] = asked
        assert (method, path, body["after_turn"]) == ("POST", "/api/sessions/trip/fork", "t1")
        assert stage.link.of("attach")[-1]["session_id"] == body["session_id"]
        assert stage.screen.composer.text == "other"

    on_stage(tmp_path, act)


def test_what_a_device_may_do_is_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(_: Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
        one = {"id": "d1", "name": "Phone", "scope": "approve"}
        return {"devices": [one, {"id": "d2", "name": "Later", "scope": "sees"}]}

    monkeypatch.setattr(Client, "call", call)

    async def act(stage: Stage) -> None:
        await stage.press(*"/devices", "enter")
        shown = await stage.shown()
        assert "View and approve · d1" in shown
        assert "sees · d2" in shown, "a newer server may know more scopes"
        await stage.press("escape")
        await stage.press(*"/pair", "enter")
        shown = await stage.shown()
        assert shown.index("Full use") < shown.index("View and approve") < shown.index("View only")

    on_stage(tmp_path, act)


@pytest.mark.parametrize(("size", "look"), [((80, 24), "dark"), ((300, 80), "light"), ((30, 12), "dark")])
def test_sizes_and_wide_characters(tmp_path: Path, size: tuple[int, int], look: str) -> None:
    async def act(stage: Stage) -> None:
        stage.app.set_colours(look)
        stage.turn("日本語 " * 30, "e\u0301 👩‍👩‍👧 漢字" * 20, turn_id="t1")
        await stage.shown()
        widths = {
            sum(segment.cell_length for segment in strip)
            for strip in stage.app.screen._compositor.render_strips()
        }
        assert widths == {size[0]}
        await stage.pilot.resize_terminal(size[0] // 2 + 10, size[1])
        assert "漢字" in await stage.shown()

    on_stage(tmp_path, act, size=size)
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600


def test_an_observer_sends_nothing(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        ask(stage)
        await stage.press("y", *"hello", "enter")
        assert stage.link.of("decide") == stage.link.of("send") == []
        assert "watching" in await stage.shown()

    on_stage(tmp_path, act, observe=True)


def test_no_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(stage: Stage) -> None:
        ask(stage)
        await stage.shown()
        styles = [
            segment.style
            for line in range(stage.app.size.height)
            for segment in stage.app.screen._compositor.render_strips()[line]
            if segment.style
        ]
        filtered = [one for style in styles for one in (style.color, style.bgcolor)]
        assert filtered
        assert {str(one.name) for one in filtered if one is not None} <= {"default"}

    on_stage(tmp_path, act)


def test_an_unsent_text_stays_with_the_session(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.attached(draft="from the phone")
        await stage.settle()
        assert stage.screen.composer.text == "from the phone"
        await stage.press("!", "enter")
        assert stage.link.of("draft") == [{"session_id": "trip", "content": ""}]
        await stage.press(*"half")
        stage.app.leave()
        assert stage.link.of("draft")[1:] == [{"session_id": "trip", "content": "half"}]

    on_stage(tmp_path, act, attach=False)
