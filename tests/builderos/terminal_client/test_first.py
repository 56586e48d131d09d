"""The first picture: the history on the terminal before Textual is loaded, and what becomes of it."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import orjson
import pytest

from builderos.client.wire.frames import decode
from builderos.terminal.first import ALTERNATE, FirstPicture
from builderos.terminal.model.conversation import ConversationModel
from tests.builderos.terminal_client.stage import TIME
from tests.builderos.tmux import open_tmux
from tests.support.server import ROOT, open_server

ECHO = 3
"""Where the mode of a terminal has the flag."""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal of 40 columns and 12 lines: our side and the program's."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 40, 0, 0))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def conversation(answer: str) -> ConversationModel:
    made = ConversationModel("trip", "me")
    events: list[dict[str, Any]] = [
        {"type": "user_message", "message_id": "m", "content": "how far?", "device_id": "me"},
        {"type": "turn_started", "message_id": "m", "content": ""},
        {"type": "message", "block": "b", "offset": 0, "content": answer},
        {"type": "complete", "content": ""},
    ]
    common: dict[str, Any] = {"timestamp": TIME, "session_id": "trip", "epoch": 1, "turn_id": "t"}
    for seq, more in enumerate(events, 1):
        made.take(decode(orjson.dumps({**common, "seq": seq, **more})))
    return made


def written(ours: int) -> str:
    return os.read(ours, 65536).decode()


def test_it_shows_the_end_and_leaves_the_terminal_as_it_was(
    terminal: tuple[int, int],
) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    first = FirstPicture({}, keyboard=theirs, screen=theirs)
    text = "\n\n".join(f"line {number}" for number in range(30))
    known = conversation(f"{text}\n\n```python\ndef f():\n    return 1\n```\n\n**the end**")
    known.timeline.dirty.add("t:t")
    first.show(known)
    shown = written(ours)
    assert shown.startswith(ALTERNATE)
    assert "line 29" in shown
    assert "\x1b[1mthe end\x1b[0m" in shown
    assert "    return 1\x1b" in shown, "code has its colours later"
    assert "line 2\x1b" not in shown
    assert re.findall(r"\x1b\[(\d+);2H", shown) == [str(row) for row in range(1, 9)], "the box has the rest"
    assert known.timeline.dirty == {"t:t"}, "it is still new for the screen"
    assert not termios.tcgetattr(theirs)[ECHO] & termios.ECHO
    first.end()
    assert written(ours) == "\x1b[?1049l\x1b[?25h"
    assert termios.tcgetattr(theirs) == before
    first.end()
    assert first.take_over() is None


def test_whoever_takes_it_over_sets_the_mode_back(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    first = FirstPicture({}, keyboard=theirs, screen=theirs)
    first.show(conversation("ten miles"))
    assert first.is_shown
    assert first.take_over() == before
    written(ours)
    first.end()
    os.write(theirs, b"-")
    assert written(ours) == "-", "nothing more is written"


def test_nothing_of_it_is_obeyed_and_colours_can_be_turned_off(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    first = FirstPicture({"NO_COLOR": "1"}, keyboard=theirs, screen=theirs)
    first.show(conversation("\x1b]0;evil\x07 `code` \x9b2J &#27;[2J\u202e"))
    shown = written(ours)
    assert "evil" in shown
    commands = re.findall(r"[\x00-\x1f\x7f-\x9f\u202e](?:\[[?0-9;]*[A-Za-z])?", shown)
    assert all(re.fullmatch(r"\x1b\[(\?1049h|\?25l|\?2026[hl]|2J|\d+;2H)", one) for one in commands)
    assert commands.count("\x1b[2J") == 1


def test_without_a_conversation_or_a_terminal_there_is_none(
    terminal: tuple[int, int], tmp_path: Path
) -> None:
    _, theirs = terminal
    first = FirstPicture({}, keyboard=theirs, screen=theirs)
    first.show(ConversationModel("new", "me"))
    with (tmp_path / "file").open("wb") as file:
        into_file = FirstPicture({}, keyboard=theirs, screen=file.fileno())
        into_file.show(conversation("x"))
    assert not first.is_shown
    assert not into_file.is_shown
    assert (tmp_path / "file").read_bytes() == b""


def test_a_signal_leaves_the_terminal_as_it_was(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    script = (
        "import signal;"
        "from builderos.terminal.first import FirstPicture;"
        "from tests.builderos.terminal_client.test_first import conversation;"
        "first = FirstPicture({});"
        "first.show(conversation('x'));"
        "first.die(signal.SIGTERM)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stdin=theirs, stdout=theirs, check=False, timeout=60
    )
    assert done.returncode == -15
    assert written(ours).endswith("\x1b[?1049l\x1b[?25h")
    assert termios.tcgetattr(theirs) == before


async def test_the_screen_is_taken_over_as_it_is(tmp_path: Path) -> None:
    """In a real terminal: one switch of screens, the history before Textual's first word, no key lost."""
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", "hello there")
        async with open_tmux(server, tmp_path / "one", "attach", "trip") as window:
            await window.keys("-l", "typed early")  # the program is not there yet
            screen = await window.see("echo: hello there", "● live", "│ typed early")
            raw = bytes(window.raw)
            assert screen.count("echo: hello there") == 1
            await window.keys("C-c")
            await window.until(lambda shown: "typed early" not in shown, "the empty box")
            await window.keys("C-d")
            after = await window.until(lambda shown: "min =" in shown, "the end")
            assert "STATUS=0" in after
            assert re.search(r"(?<!-)\becho\b", after), "the terminal shows what is typed again"
        assert raw.count(ALTERNATE.encode()) == 1
        assert raw.index(b"echo: hello there") < raw.index(b"\x1b[?1004h")
