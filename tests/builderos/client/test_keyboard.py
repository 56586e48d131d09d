"""What is typed and pasted arrives whole: each line a message, a paste of any length and lines one."""

from __future__ import annotations

import os
import pty
import termios
from pathlib import Path

import pytest
import trio

from builderos.client.keyboard import MAX_LINE_BYTES, LineEditor, LineReader, TypedLine
from tests.builderos.terminal import command_line, run_command
from tests.support.server import ROOT, open_server

PASTED = "one\n  two\n\nthree\tx\nfour"


def typed(*chunks: bytes) -> tuple[list[str | None], str]:
    """Return the lines and what was shown."""
    editor = LineEditor()
    told = [one for chunk in chunks for one in editor.feed(chunk)]
    lines = [one.text for one in told if isinstance(one, TypedLine)]
    return lines, "".join(one for one in told if isinstance(one, str))


@pytest.mark.parametrize(
    ("keys", "line", "shown"),
    [
        (b"/mod\t\r", "/mode", "/mode\n"),
        (b"/mode\t\r", "/mode", "/mode\n/mode  /model\n/mode\n"),
        (b"/model o\t\r", "/model opus", "/model opus\n"),
        (b"/model opus\t\r", "/model opus", "/model opus\n"),
        (b"a\tb\r", "a\tb", "a\tb\n"),
        (b"\x1b[200~/mod\t\x1b[201~\r", "/mod\t", "/mod\t\n"),
    ],
)
def test_tab_completes_what_is_known(keys: bytes, line: str, shown: str) -> None:
    known = {
        "/mod": ["/mode", "/model"],
        "/mode": ["/mode", "/model"],
        "/model o": ["opus"],
        "/model opus": ["opus"],
    }
    editor = LineEditor(lambda line: known.get(line, []))
    told = list(editor.feed(keys))
    assert [one.text for one in told if isinstance(one, TypedLine)] == [line]
    assert "".join(one for one in told if isinstance(one, str)) == shown


def paste(text: str) -> bytes:
    return b"\x1b[200~" + text.encode() + b"\x1b[201~"


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (b"hello\r", ["hello"]),
        (b"one\ntwo\n", ["one", "two"]),
        (b"helpp\x7f\x7flo\r", ["hello"]),
        (b"wrong\x15right\r", ["right"]),
        (b"one two three\x17\x17\r", ["one "]),
        (b"\x7f\x15\x17\r", [""]),
        ("grüße 日本\x7f".encode() + b"\r", ["grüße 日"]),
        (b"a\x1b[Db\x1bOC\x1bxc\r", ["abc"]),
        (b"a\x01\x0b\x1f\tb\r", ["a\tb"]),
        (b"\x04", [None]),
        (b"a\x04b\r", ["ab"]),
        (paste(PASTED) + b"\r", [PASTED]),
        (b"look: " + paste("a\r\nb\rc") + b" end\r", ["look: a\nb\nc end"]),
        (paste("\x1b[31mred \x7f\x15") + b"\r", ["\x1b[31mred \x7f\x15"]),
        (paste("x" * 5997) + b"\r", ["x" * 5997]),
    ],
)
def test_keys_become_lines_however_they_are_cut_into_reads(keys: bytes, lines: list[str | None]) -> None:
    assert typed(keys)[0] == lines
    assert typed(*(keys[at : at + 1] for at in range(len(keys))))[0] == lines
    assert typed(*(keys[at : at + 7] for at in range(0, len(keys), 7)))[0] == lines


def test_what_is_shown_is_harmless_and_what_is_erased_goes() -> None:
    assert typed(b"ab\x7f")[1] == "ab\b \b"
    assert typed("日\x7f".encode())[1] == "日" + "\b \b" * 2
    assert "\x1b" not in typed(paste("\x1b]0;title\x07"))[1]
    assert typed(paste("a\nb") + b"\x15c\r")[0] == ["c"]


def test_an_endless_line_is_bounded() -> None:
    (line,), _ = typed(paste("x" * (MAX_LINE_BYTES + 5)) + b"y\r")
    assert line == "x" * MAX_LINE_BYTES


async def test_an_endless_line_is_one_line_that_is_refused() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(b"x" * (3 * MAX_LINE_BYTES) + b"\nnext\n")

    lines = LineReader(reading)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, write)
            with trio.fail_after(20):
                first, second = await lines.next_line(), await lines.next_line()
            assert first is not None
            assert len(first) > MAX_LINE_BYTES
            assert second == "next"
    finally:
        os.close(reading)


async def test_a_paste_arrives_whole_and_the_terminal_is_restored(tmp_path: Path) -> None:
    keyboard, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    shown = b""

    async def see(text: bytes) -> None:
        nonlocal shown
        with trio.fail_after(40):  # noqa: ASYNC912 - waits for its condition
            while text not in shown:
                shown += await trio.to_thread.run_sync(os.read, keyboard, 65536)

    async with open_server(tmp_path) as server:
        process = await trio.lowlevel.open_process(
            command_line(server, "attach", "pasted", "--agent", "echo"),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=ROOT,
            env=dict(server.environment),
        )
        await see(b"\x1b[?2004h")
        for text in (PASTED, "w" * 5997):
            await trio.to_thread.run_sync(os.write, keyboard, paste(text) + b"\r")
            shown = b""
            await see("— complete —".encode())
        await trio.to_thread.run_sync(os.write, keyboard, b"\x04")
        with trio.fail_after(40):
            assert await process.wait() == 0
        async with server.device() as device:
            await device.attach("pasted")
            await device.wait_for("complete", start=0)
            said = [frame["content"] for frame in device.frames if frame["type"] == "user_message"]
            assert said == [PASTED, "w" * 5997]
    assert termios.tcgetattr(terminal)[3] == before[3]
    os.close(keyboard)
    os.close(terminal)


async def test_send_reads_a_long_message_from_standard_input(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(19_500))
    async with open_server(tmp_path) as server:
        arguments = ("send", "piped", "-", "--agent", "echo", "--message-id", "m")
        assert (await run_command(server, *arguments, stdin=text.encode()))[0] == 0
        status, _, err = await run_command(server, *arguments, stdin=b"x" * (1 << 20))
        assert (status, "over 262144 bytes" in err) == (2, True)
        assert (await run_command(server, *arguments, stdin=b""))[0] == 2
        assert (await run_command(server, *arguments, stdin=b"\xff\xfe"))[0] == 2
        async with server.device() as device:
            await device.attach("piped")
            said = await device.wait_for("user_message", start=0)
            assert said["content"] == text.removesuffix("\n")
