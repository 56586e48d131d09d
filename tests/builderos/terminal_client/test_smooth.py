"""What keeps the full-screen client smooth: what is not drawn, drawn later, and fetched before it is needed."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.segment import Segment
from textual.widgets import Input

from builderos.terminal import app
from builderos.terminal.client import Client
from builderos.terminal.draw import flow, rendering
from builderos.terminal.draw.flow import LONG_ENDED, Flow, whole
from builderos.terminal.draw.lines import Segments
from builderos.terminal.draw.markdown import Page
from builderos.terminal.draw.rendering import lines_of, markdown_lines
from builderos.terminal.model.timeline import Timeline
from builderos.terminal.screens import session
from builderos.terminal.screens.sessions import SessionsScreen
from builderos.terminal.widgets.composer import Composer
from builderos.terminal.widgets.transcript import AHEAD
from tests.builderos.terminal_client.stage import Stage, on_stage

LIST = "".join(f"- **item {number}** of a long list\n" for number in range(LONG_ENDED // 20))


def text_of(lines: list[Segments]) -> list[str]:
    return ["".join(one.text for one in line).rstrip() for line in lines]


def test_pieces_draw_the_conversation_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the layout of the screen nor the box for text costs anything while an answer grows, line by line."""
    drawn: list[str] = []
    render = Composer.render_line

    def counting(self: Composer, y: int) -> Any:
        drawn.append("box")
        return render(self, y)

    async def act(stage: Stage) -> None:
        for number in range(10):
            stage.turn("question", "answer\n" * 5, turn_id=f"t{number}")
        stage.turn("more", "w ", turn_id="t", end="")
        await stage.settle()
        arrange = type(stage.screen)._refresh_layout

        def arranging(*given: Any, **how: Any) -> None:
            drawn.append("layout")
            arrange(*given, **how)

        monkeypatch.setattr(type(stage.screen), "_refresh_layout", arranging)
        monkeypatch.setattr(Composer, "render_line", counting)
        for number in range(5):
            piece = f"word{number} " * 40
            stage.event("message", content=piece, block="b1", offset=2 + len(piece) * number, turn_id="t")
            screen = await stage.shown()
            assert f"word{number}" in screen
        assert drawn == []

    on_stage(tmp_path, act)


def test_the_end_of_a_turn_waits_for_no_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces wait until the last drawing is old enough; with the end of their turn they are on the screen."""
    drawn: list[str] = []
    change = session.SessionScreen.changed

    def changed(screen: session.SessionScreen) -> None:
        change(screen)
        drawn.append(screen.conversation.state)

    async def act(stage: Stage) -> None:
        monkeypatch.setattr(app, "DRAW_S", 3600.0)
        monkeypatch.setattr(session.SessionScreen, "changed", changed)
        stage.turn("question", "word ", end="")
        await stage.pilot.pause()
        assert drawn == []
        stage.event("complete", turn_id="t1")
        await stage.pilot.pause()
        assert drawn == ["idle"]

    on_stage(tmp_path, act)


def test_a_long_text_that_ends_is_plain_first_and_then_markdown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    draw = markdown_lines

    def count(text: str, width: int, style: str) -> list[Segments]:
        at_once.append(len(text))
        return draw(text, width, style)

    async def act(stage: Stage) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(flow, "markdown_lines", count)
            stage.turn("a list", LIST)
            stage.app._draw()
            stage.screen.transcript.sync()
            assert max(at_once, default=0) <= LONG_ENDED
            layout = stage.screen.transcript.layout_of
            assert "**item" in text_of([layout.line(layout.total - 5)])[0]
        await stage.app.workers.wait_for_complete()
        screen = await stage.shown()
        assert "• item 299 of a long list" in screen
        assert "**" not in screen
        assert stage.screen.transcript.follows

    on_stage(tmp_path, act)


def test_the_end_of_a_block_is_not_looked_for_with_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list with blank lines is one block for Markdown; to find that out again and again would be slow."""
    parsed: list[int] = []
    parser = flow._parser()

    class Counting:
        def parse(self, text: str) -> Any:
            parsed.append(len(text))
            return parser.parse(text)

    monkeypatch.setattr(flow, "_parser", Counting)
    growing, text = Flow(), ""
    for number in range(500):
        text += f"- item {number} of a long list\n\n"
        growing.lines(text, 80, cuts=0, ended=False, style="ansi_dark")
    assert sum(one for one in parsed if one > flow.LONG) < 15 * len(text)
    assert growing.is_rough
    assert text_of(whole(text, 80, "ansi_dark")) == text_of(markdown_lines(text, 80, "ansi_dark"))


def test_a_long_plain_block_becomes_markdown_once_it_has_ended() -> None:
    growing = Flow()
    text = LIST
    growing.lines(text, 80, cuts=0, ended=False, style="ansi_dark")
    text += "\n# After it\n\nand **more**"
    shown = text_of(growing.lines(text, 80, cuts=0, ended=False, style="ansi_dark"))
    assert shown[-1] == "and more"
    assert shown[0].startswith("- **item 0**")
    assert growing.is_rough
    assert text_of(whole(text, 80, "ansi_dark"))[0] == " • item 0 of a long list"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab1 .,-+#*=_日é()'\"!", max_size=120), st.integers(20, 60))
def test_prose_is_drawn_as_markdown_would_be(text: str, width: int) -> None:
    plain = rendering._trimmed(lines_of(Page(text), width))
    assert text_of(markdown_lines(text, width, "ansi_dark")) == text_of(plain)


@pytest.mark.parametrize(
    "text", ["1. one", "- one", "# one", "    one", "a *b*", "a `b`", "a\nb", "&amp;", "a  b"]
)
def test_what_may_be_markdown_is_no_prose(text: str) -> None:
    assert rendering._PROSE.fullmatch(text) is None


def test_what_was_before_is_fetched_before_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first key from the end on fetches a page, since its beginning is close; one page at a time.

    Nothing writes the conversation out for that: 10,000 messages would take 0.1 s.
    """
    asked: list[str] = []
    written: list[Timeline] = []

    def write(timeline: Timeline) -> str:
        written.append(timeline)
        return "a timeline"

    monkeypatch.setattr(Timeline, "__repr__", write)

    async def act(stage: Stage) -> None:
        async def page(_: Client, what: str) -> Mapping[str, Any]:
            asked.append(what)
            if "before_seq=1001" not in what:
                return {"messages": [], "next_before": None}
            found = [
                {"seq": seq, "role": "user", "message_id": f"m{seq}", "content": f"older {seq}\n" * 10}
                for seq in range(901, 1001)
            ]
            return {"messages": found, "next_before": 901}

        monkeypatch.setattr(Client, "of_session", page)
        stage.seq = 1000
        stage.attached()
        for number in range(20):
            stage.turn(f"question {number}", "answer\n" * 4, turn_id=f"t{number}")
        await stage.settle()
        assert asked == [], "who stays at the end needs nothing"
        transcript = stage.screen.transcript
        assert transcript.layout_of.total < AHEAD * transcript.size.height
        await stage.press("pageup")
        await stage.app.workers.wait_for_complete()
        await stage.settle()
        assert asked == ["messages?before_seq=1001&limit=100"]
        at = transcript.scroll_y
        assert at > AHEAD * transcript.size.height, "what stands on the screen stays there"
        while transcript.scroll_y > 5 * transcript.size.height:
            await stage.press("pageup")
        await stage.app.workers.wait_for_complete()
        assert asked[1:] == ["messages?before_seq=901&limit=100"]

    on_stage(tmp_path, act)
    assert written == []


def test_a_segment_is_never_more_than_its_line() -> None:
    """Plain text that ended in the middle of a block has no line that is wider than the screen."""
    lines = Flow().lines(LIST, 20, cuts=0, ended=True, style="ansi_dark")
    assert all(sum(one.cell_length for one in line) <= 20 for line in lines)
    assert isinstance(lines[0][0], Segment)


def test_a_search_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    """A warning of Python's would stand in the terminal after the program has ended; here it fails the test."""

    async def act(stage: Stage) -> None:
        stage.app.show_list()
        await stage.settle()
        screen = stage.app.screen
        assert isinstance(screen, SessionsScreen)
        for typed in ("wor", "word", "words"):
            screen.on_input_changed(Input.Changed(screen.search, typed))
        await stage.settle()

    on_stage(tmp_path, act)
    gc.collect()


def test_reading_is_told_now_and_then_and_when_leaving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "READ_S", 3600.0)

    async def act(stage: Stage) -> None:
        stage.turn("question", "w ", turn_id="t", end="")
        for number in range(5):
            stage.event("message", content="x ", block="b1", offset=2 + 2 * number, turn_id="t")
            await stage.settle()
        assert stage.link.of("mark_read") == [], "not with each piece"
        stage.event("complete", turn_id="t")
        await stage.settle()
        stage.app.leave()
        assert stage.link.of("mark_read")[-1] == {"session_id": "trip", "seq": stage.seq}

    on_stage(tmp_path, act)
