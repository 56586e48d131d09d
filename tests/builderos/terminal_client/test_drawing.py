"""What a picture of the full-screen client takes, and that it looks like one that Textual draws by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual.geometry import Region
from textual.scrollbar import ScrollBar
from textual.strip import Strip

from builderos.terminal import app
from builderos.terminal.app import DRAW_S, LONGEST_S, TerminalApp, pause_s
from builderos.terminal.client import Client
from builderos.terminal.draw.flow import LONG, Flow
from builderos.terminal.driver import Terminal
from builderos.terminal.screens.session import SessionScreen
from tests.builderos.terminal_client.stage import Stage, on_stage

WIDE = "日本語 é and **bold** `code` "


def counted(monkeypatch: pytest.MonkeyPatch, of: type, name: str) -> list[Any]:
    """Return a list that grows with each call of a method."""
    calls: list[Any] = []
    original: Callable[..., Any] = getattr(of, name)

    def counting(*given: Any, **how: Any) -> Any:
        calls.append(given)
        return original(*given, **how)

    monkeypatch.setattr(of, name, counting)
    return calls


def test_what_is_new_is_drawn_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at Textual's next tick, which at the end of an answer would come last."""

    async def act(stage: Stage) -> None:
        stage.turn("question", "answer ", end="")
        await stage.settle()
        pictures = counted(monkeypatch, TerminalApp, "_display")
        stage.event("message", content="newest", block="b1", offset=7, turn_id="t1")
        stage.app._draw()
        assert [picture for *_, picture in pictures if picture is not None]
        assert "answer newest" in "\n".join(stage.lines())
        await stage.pilot.pause()
        assert len([picture for *_, picture in pictures if picture is not None]) == 1, "and only once"

    on_stage(tmp_path, act)


def test_a_drawing_that_takes_long_is_made_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pause_s(0.001) == DRAW_S
    assert pause_s(0.02) == pytest.approx(0.06)
    assert pause_s(5.0) == LONGEST_S

    took: list[float] = []

    def hours(took_s: float) -> float:
        took.append(took_s)
        return 3600.0

    async def act(stage: Stage) -> None:
        stage.turn("question", "answer ", end="")
        await stage.settle()
        monkeypatch.setattr(app, "pause_s", hours)
        drawings = counted(monkeypatch, SessionScreen, "changed")
        stage.event("message", content="newest", block="b1", offset=7, turn_id="t1")
        await stage.pilot.pause()
        assert drawings == []
        stage.event("complete", turn_id="t1")
        await stage.pilot.pause()
        assert len(drawings) == 1

    on_stage(tmp_path, act)
    assert took
    assert min(took) > 0, "it is measured"


def test_older_history_is_drawn_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a person who scrolls fast is at the top of what is known, and the next key does nothing."""

    async def act(stage: Stage) -> None:
        stage.turn("question", "answer ", end="")
        await stage.settle()
        monkeypatch.setattr(app, "pause_s", lambda _: 3600.0)
        drawings = counted(monkeypatch, SessionScreen, "changed")
        stage.event("message", content="newest", block="b1", offset=7, turn_id="t1")

        async def page(_: Client, path: str) -> dict[str, Any]:
            assert path.startswith("messages?before_seq=5&")
            return {"messages": [], "next_before": None}

        monkeypatch.setattr(Client, "of_session", page)
        client = stage.app.client
        assert client.conversation is not None
        client.conversation.timeline.first_seq = 5
        await client.load_older()
        await stage.pilot.pause()
        assert len(drawings) == 1

    on_stage(tmp_path, act)


def test_a_line_that_was_drawn_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual's own way makes nine strips of each line of the screen, and as many of each line of the bar."""

    async def act(stage: Stage) -> None:
        stage.turn("question", "answer " * LONG, end="")
        await stage.settle()
        strips = counted(monkeypatch, Strip, "__init__")
        stage.event("message", content="and a line more " * 5, block="b1", offset=7 * LONG, turn_id="t1")
        await stage.settle()
        made = len(strips)
        assert "and a line more" in stage.lines()[stage.screen.transcript.size.height - 2]
        assert 0 < made < 10

    on_stage(tmp_path, act, size=(80, 50))


@pytest.mark.parametrize("text", ["word " * LONG, "# Title\n\nwords\n\n- one\n- two\n\nlast "])
def test_lines_that_stand_stay_the_same(text: str) -> None:
    flow = Flow(margin=[Segment("  ")])
    before = flow.lines(text, 40, cuts=0, ended=False, style="ansi_dark")
    after = flow.lines(f"{text}and more", 40, cuts=0, ended=False, style="ansi_dark")
    same = sum(old is new for old, new in zip(before, after, strict=False))
    assert same > 0
    assert all(old is new for old, new in zip(before[: same - 1], after, strict=False))
    assert all(line[0].text == "  " for line in after if len(line) > 1)


def test_the_bar_looks_like_textuals_own(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.turn("question", "answer\n" * 100)
        await stage.settle()
        for key in ("pageup", "ctrl+up", "ctrl+home", "ctrl+end"):
            await stage.press(key)
            bar = stage.screen.transcript.vertical_scrollbar
            for crop in (Region(0, 0, 1, bar.size.height), Region(0, 5, 1, 3)):
                ours, theirs = bar.render_lines(crop), ScrollBar.render_lines(bar, crop)
                assert [one.text for one in ours] == [one.text for one in theirs]
                assert [_of(one) for one in ours] == [_of(one) for one in theirs]

    on_stage(tmp_path, act)


def _of(strip: Strip) -> list[tuple[Any, ...]]:
    styles = [segment.style for segment in strip if segment.style is not None]
    return [(style.meta, style.reverse, style.bgcolor or "") for style in styles]


@pytest.mark.parametrize("width", [33, 80])
def test_a_line_fills_its_row(tmp_path: Path, width: int) -> None:
    async def act(stage: Stage) -> None:
        stage.turn(WIDE * 9, WIDE * 30 + f"\n\n```\n{'long ' * 50}\n```\n")
        await stage.settle()
        transcript = stage.screen.transcript
        row = transcript.vertical_scrollbar.region.x
        whole = transcript.render_lines(Region(0, 0, width, transcript.size.height))
        assert {strip.cell_length for strip in whole} == {row}
        assert {Strip(list(strip)).cell_length for strip in whole} == {row}, "as it says"
        assert all(strip.text.startswith(" ") for strip in whole)
        part = transcript.render_lines(Region(3, 2, 10, 4))
        assert [one.text for one in part] == [one.crop(3, 13).text for one in whole[2:6]]

    on_stage(tmp_path, act, size=(width, 30))


def test_a_picture_is_written_as_a_whole(tmp_path: Path) -> None:
    """Each write wakes the thread that writes, which takes the interpreter from the drawing."""
    written: list[str] = []

    class Thread:
        def write(self, text: str) -> None:
            written.append(text)

    async def act(stage: Stage) -> None:
        driver = Terminal(stage.app)
        driver._writer_thread = Thread()  # type: ignore[assignment]
        for data in ("before", SYNC_START, "lines", "cursor", SYNC_END, "after"):
            driver.write(data)

    on_stage(tmp_path, act)
    assert written == ["before", f"{SYNC_START}linescursor{SYNC_END}", "after"]
