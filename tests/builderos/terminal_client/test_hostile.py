"""Nothing that an agent, a device or a server says reaches the terminal as an escape sequence or as markup."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.segment import Segment

from builderos.terminal.draw.entry import EntryLook, Pen
from builderos.terminal.draw.flow import Flow
from builderos.terminal.draw.lines import PLAIN, paragraph, spans
from builderos.terminal.model.entries import AnswerEntry, MessageEntry, TextPart, ToolEntry
from builderos.terminal.screens.sessions import SessionsScreen
from tests.builderos.terminal_client.stage import Stage, on_stage

EVIL: Final = "\x1b]0;title\x07\x1b[2J\x9b31m\x00\r\u202egnp\u2066 [red]bold[/] [@click=app.quit]x[/] &#27;[31m &#x9b;5m"

LINK: Final = (
    "[press](javascript:alert(1)) <http://e.example/\x1b]8;;x> ![p](\x1b[0m) `\x1b[1m`\n\n"
    "```\x1b[7m\n\x1b[5mcode\n```\n"
)


def obeyed(text: str) -> list[str]:
    """Return the characters of drawn text that a terminal might obey."""
    return [one for one in text if unicodedata.category(one) in {"Cc", "Cs"} or one in "\u202e\u2066"]


def drawn(stage: Stage) -> str:
    return "\n".join(stage.lines())


def test_every_part_of_the_screen(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        tool: dict[str, Any] = {"tool_id": EVIL, "name": EVIL, "turn_id": "t1"}
        diff = [{"path": EVIL, "added": EVIL, "removed": 1, "patch": f"@@ -1 +1 @@\n+{EVIL}"}]
        devices = [{"device_id": EVIL, "name": EVIL}]
        stage.attached(
            title=EVIL, agent_type=EVIL, devices=devices, settings={"model": EVIL, "workspace": EVIL}
        )
        stage.turn(EVIL, EVIL, LINK, turn_id="t1", device_id=EVIL, end="")
        stage.event("tool_started", **tool, input={EVIL: EVIL, "file_path": EVIL})
        stage.frame("tool_output", turn_id="t1", outputs=[{"tool_id": EVIL, "offset": EVIL, "output": EVIL}])
        assert obeyed(drawn(stage).replace("\n", "")) == []
        stage.event("tool_finished", **tool, output=EVIL, is_error=False, diff=diff)
        stage.event("thinking", content=EVIL, block="b0", offset=0, turn_id="t1")
        stage.event("task_started", task_id="x", title=EVIL, state="running", turn_id="t1")
        stage.event("plan_updated", entries=[{"content": EVIL, "status": EVIL}], turn_id="t1")
        stage.event("notice", code="x", content=EVIL, turn_id="t1")
        mode = {"id": EVIL, "name": EVIL, "description": EVIL}
        stage.frame("agent", agent={"models": [mode], "modes": [mode], "commands": [mode]})
        stage.event(
            "permission_requested",
            request_id=EVIL,
            tool=EVIL,
            input={"command": EVIL},
            title=EVIL,
            grant=EVIL,
            diff=diff,
            options=[EVIL],
            turn_id="t1",
        )
        stage.frame("rejected", code=EVIL, message=EVIL, content_=EVIL)
        stage.app.say(EVIL)
        await stage.press("ctrl+o")
        shown = drawn(stage)
        assert obeyed(shown.replace("\n", "")) == []
        assert "[red]bold[/]" in shown, "it is shown as text"
        await stage.press("ctrl+p")
        stage.app.pop_screen()
        await stage.press("escape", "/", "m", "o", "d", "e", "enter")
        assert obeyed(drawn(stage).replace("\n", "")) == []
        stage.app.pop_screen()
        stage.event("error", code=EVIL, content=EVIL, turn_id="t1")
        await stage.settle()
        assert obeyed(drawn(stage).replace("\n", "")) == []

    on_stage(tmp_path, act, size=(120, 60))


def test_the_list_of_sessions(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        entry = {"title": EVIL, "agent_type": EVIL, "workspace": EVIL, "state": "running", "unread": 3}
        stage.app.client.sessions.update({**entry, "session_id": "trip"})
        stage.app.show_list()
        await stage.settle()
        assert isinstance(stage.app.screen, SessionsScreen)
        shown = drawn(stage)
        assert "3 unread" in shown
        assert obeyed(shown.replace("\n", "")) == []

    on_stage(tmp_path, act)


def segments(lines: list[list[Segment]]) -> list[Segment]:
    return [one for line in lines for one in line]


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=300), st.integers(1, 60), st.integers(1, 9))
def test_any_text_in_any_pieces(text: str, width: int, step: int) -> None:
    """Markdown that comes in pieces: never a control character, a link or a meta of Rich."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    pen = Pen(lambda name: name or "", lambda: "")
    part = TextPart("text", "b")
    answer = AnswerEntry("t:1", "1", 1, parts=[part])
    for at in range(0, len(text), step):
        part.take(at, text[at : at + step])
        answer.version += 1
        found = segments(pen.draw(answer, EntryLook(width)).lines)
        assert obeyed("".join(one.text for one in found)) == []
    assert part.text == text
    answer.status = "complete"
    tool = ToolEntry(text, text, {"x": text}, output=text)
    answer.parts.append(tool)
    message = MessageEntry("m:1", "1", text, text, 1, files=(text,))
    found = segments(
        [*pen.draw(answer, EntryLook(width, unfolded=True)).lines, *pen.draw(message, EntryLook(width)).lines]
    )
    assert obeyed("".join(one.text for one in found)) == []
    assert all(
        not one.control and not (one.style or PLAIN).link and not (one.style or PLAIN).meta for one in found
    )


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab \n日e\u0301👩"), max_size=200), st.integers(2, 20))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = [text[start:end] for start, end in spans(text, width)]
    assert all(Segment(line).cell_length <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(sum(one.cell_length for one in line) <= width for line in paragraph(text, width))


PIECES: Final = [
    "word ",
    "**b** ",
    "\n",
    "\n\n",
    "# h\n",
    "- x\n",
    "```\n",
    "| a | b |\n|---|---|\n",
    "w" * 900 + " ",
]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_a_growing_text_ends_as_the_whole_one(pieces: list[str]) -> None:
    """What was drawn while it grew is, at the end, what one drawing of it all gives: word for word."""
    text, growing = "", Flow()
    for piece in pieces:
        text += piece
        growing.lines(text, 40, cuts=0, ended=False, style="ansi_dark")
    shown = growing.lines(text, 40, cuts=0, ended=True, style="ansi_dark")
    whole = Flow().lines(text, 40, cuts=0, ended=True, style="ansi_dark")
    assert words(shown) == words(whole)


def words(lines: list[list[Segment]]) -> list[str]:
    return "".join(one.text for line in lines for one in [*line, Segment(" ")]).replace("─", "").split()
