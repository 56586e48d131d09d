"""The model of the full-screen client: order, pieces, older history, tools in words, what is kept on disk."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from builderos.cli import main
from builderos.client.wire.frames import decode
from builderos.exit_status import MISUSED
from builderos.terminal.draw import flow
from builderos.terminal.draw.entry import Drawing, EntryLook, Pen
from builderos.terminal.draw.layout import Layout
from builderos.terminal.draw.lines import Segments
from builderos.terminal.draw.rendering import markdown_lines
from builderos.terminal.driver import PASTE_BEGIN, PASTE_END, Pastes
from builderos.terminal.keep import Keep, Waiting, state_folder
from builderos.terminal.model.conversation import ConversationModel
from builderos.terminal.model.entries import AnswerEntry, Entry, MessageEntry
from builderos.terminal.model.sessions import Sessions, ago, hint_of
from builderos.terminal.model.tools import describe
from builderos.terminal.run import can_run

NOW = datetime.fromisoformat("2026-11-29T12:00:00+00:00")


def feed(conversation: ConversationModel, *events: dict[str, Any]) -> None:
    for number, one in enumerate(events, conversation.timeline.shape + 1):
        conversation.take(
            decode(orjson.dumps({"seq": number, "first_seq": number, "epoch": 1, "content": "", **one}))
        )


def texts(conversation: ConversationModel) -> list[str]:
    return [one.text for one in conversation.timeline.entries if isinstance(one, MessageEntry | AnswerEntry)]


def test_a_folded_piece_covers_what_is_known() -> None:
    conversation = ConversationModel("s", "me")
    feed(conversation, {"type": "turn_started", "turn_id": "t"})
    piece = {"type": "message", "turn_id": "t", "block": "b"}
    feed(conversation, {**piece, "offset": 0, "content": "He"}, {**piece, "offset": 2, "content": "llo"})
    feed(conversation, {**piece, "offset": 0, "content": "Hello you"})
    assert texts(conversation) == ["Hello you"]
    feed(
        conversation,
        {**piece, "offset": 0, "content": ""},
        {"type": "block_dropped", "turn_id": "t", "block": "b"},
    )
    assert texts(conversation) == [""]


def test_older_pages_stand_before() -> None:
    conversation = ConversationModel("s", "me")
    conversation.timeline.first_seq = 100
    page = [
        {"seq": 10, "role": "user", "message_id": "m1", "turn_id": "a", "content": "q", "status": "answered"},
        {"seq": 12, "role": "assistant", "turn_id": "a", "content": "x", "status": "complete"},
    ]
    conversation.older(page, more=True)
    assert conversation.timeline.first_seq == 10
    assert texts(conversation) == ["q", "x"]
    conversation.older([], more=False)
    assert conversation.timeline.first_seq == 1


def test_ten_thousand_entries_are_not_drawn() -> None:
    """Only what is near the window is drawn; the heights of all others are estimated."""
    conversation = ConversationModel("s", "me")
    page = [
        {"seq": 2 * number, "role": "user", "message_id": f"m{number}", "content": "word " * (number % 50)}
        for number in range(1, 10_001)
    ]
    conversation.older(page, more=False)
    drawn: list[str] = []

    class CountingPen(Pen):
        def draw(self, entry: Entry, look: EntryLook) -> Drawing:
            drawn.append(entry.key)
            return super().draw(entry, look)

    pen = CountingPen(conversation.name_of, lambda: "")
    layout = Layout(conversation.timeline, pen)
    layout.update(EntryLook(80))
    while layout.settle(layout.total - 100, layout.total):
        pass
    assert len(layout.entries) == 10_000
    assert 0 < len(drawn) < 200
    assert layout.line(layout.total - 1) == []
    assert layout.top(9_999) + 2 <= layout.total


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("Bash", {"command": "ls\nx"}, ("Run", "ls", "run a command")),
        ("shell", {"command": ["a", "b"]}, ("Run", "a b", "run a command")),
        ("Read", {"file_path": "/w/a/b.py"}, ("Read", "a/b.py", "read a file")),
        ("Grep", {"pattern": "x", "path": "/w/a"}, ("Search", "x in a", "search files")),
        (
            "TodoWrite",
            {"todos": [{"status": "completed"}, {}]},
            ("To-do", "1 of 2 done", "change its to-do list"),
        ),
        ("mcp__git__log", {"query": "q"}, ("git: log", "q", "use git: log")),
        ("odd", None, ("odd", "", "use odd")),
    ],
)
def test_tools_in_words(name: str, given: Any, words: tuple[str, str, str]) -> None:
    doing = describe(name, given, "/w")
    assert (doing.verb, doing.gist, doing.wish) == words


def test_the_list_puts_first_what_waits() -> None:
    sessions = Sessions()
    sessions.fill(
        [
            {"session_id": "old", "last_activity": "2026-11-28T12:00:00Z", "state": "waiting"},
            {"session_id": "new", "last_activity": "2026-11-29T11:59:00Z", "workspace": "/code/trip"},
            {"session_id": "pin", "last_activity": "2026-11-01T12:00:00Z", "pinned": True},
        ]
    )
    sessions.update({"session_id": "new", "unread": 2})
    sessions.update({"session_id": "gone", "archived": True})
    assert [one["session_id"] for one in sessions.listed()] == ["old", "pin", "new"]
    assert hint_of(sessions.entries["new"], NOW) == "2 unread · trip · 1 min ago"
    assert ago("nonsense", NOW) == ""


def test_messages_that_wait_survive(tmp_path: Path) -> None:
    keep = Keep(tmp_path, "here")
    keep.wait(Waiting("s", "m1", "one"))
    keep.wait(Waiting("s", "m2", "two"))
    again = Keep(tmp_path, "here")
    assert again.waiting() == [Waiting("s", "m1", "one"), Waiting("s", "m2", "two")]
    assert Keep(tmp_path, "elsewhere").waiting() == []
    again.done("m1")
    assert [one.message_id for one in keep.waiting()] == ["m2"]
    keep.done("m2")
    [file] = tmp_path.glob("*/outbox.jsonl")
    assert file.read_bytes() == b""
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b'not json\n{"message_id": 3}\n')
    assert keep.waiting() == []


def test_history_is_kept_and_bounded(tmp_path: Path) -> None:
    keep = Keep(tmp_path, "here")
    for number in range(1200):
        keep.remember(f"line {number}")
    keep.remember("line 1199")
    keep.remember("x" * 100_000)
    found = Keep(tmp_path, "here").history()
    assert found[-1] == "line 1199"
    assert len(found) == 500
    assert state_folder({"XDG_STATE_HOME": "/s"}, Path("/h")) == Path("/s/builderos")


def test_without_a_disk_it_works(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    keep = Keep(blocked, "here")
    keep.wait(Waiting("s", "m", "x"))
    keep.remember("x")
    keep.set(colours="light")
    assert keep.waiting() == []
    assert keep.history() == ["x"]


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_pastes_are_cut_out_of_what_is_read(step: int) -> None:
    """However the bytes are cut: what is between the marks is one paste."""
    whole = f"ab\x1b[A{PASTE_BEGIN}x\x1b[31m\ny{PASTE_END}c{PASTE_BEGIN}{PASTE_END}\x1b"
    pastes = Pastes()
    found = [part for at in range(0, len(whole), step) for part in pastes.feed(whole[at : at + step])]
    found.append((pastes.flush(), False))
    pasted = [text for text, is_paste in found if is_paste]
    typed = "".join(text for text, is_paste in found if not is_paste)
    assert pasted == ["x\x1b[31m\ny", ""]
    assert typed == "ab\x1b[Ac\x1b"


def test_a_long_answer_is_not_laid_out_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 words without a new line: what is drawn as Markdown stays a small part of all that is shown."""
    drawn: list[int] = []
    draw = markdown_lines

    def count(text: str, width: int, style: str) -> list[Segments]:
        drawn.append(len(text))
        return draw(text, width, style)

    monkeypatch.setattr(flow, "markdown_lines", count)
    growing, text = flow.Flow(), ""
    for number in range(200):
        text += "".join(f"w{word} " for word in range(100 * number, 100 * number + 100))
        lines = growing.lines(text, 80, cuts=0, ended=False, style="ansi_dark")
    assert sum(drawn) < 20_000
    assert len(lines) > len(text) // 80
    assert text.split() == "".join(one.text + " " for line in lines for one in line).split()


def test_without_a_terminal_all_is_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert not can_run({"TERM": "xterm"}), "the standard input of a test is no terminal"
    assert not can_run({"TERM": "dumb"})
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == MISUSED
    assert "COMMAND" in capsys.readouterr().err
