"""The full-screen client as people have it: in a real terminal, on a real server that goes and comes back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import trio

from tests.builderos.tmux import Tmux, open_tmux
from tests.support.server import ROOT, open_server


async def gone(pid: int) -> None:
    """Wait until a process is gone."""
    with trio.fail_after(20):
        await trio.to_thread.run_sync(lambda: psutil.wait_procs([psutil.Process(pid)], timeout=15))
    assert not psutil.pid_exists(pid)


def is_live(screen: str) -> bool:
    return "● live" in screen


async def leave(window: Tmux) -> str:
    await window.keys("C-c")
    await window.see("Press ctrl+c again")
    await window.keys("C-c")
    # The last word of `stty -a`.
    return await window.until(lambda screen: "STATUS=" in screen and "extproc" in screen, "the end")


async def test_a_day_in_a_terminal(tmp_path: Path) -> None:
    """Streaming over a restart of the server, a message without a server, sleep, a hang-up, and a terminal as before."""
    async with open_server(tmp_path) as server:
        arguments = ("attach", "trip", "--agent", "echo")
        async with open_tmux(server, tmp_path / "one", *arguments) as window:
            await window.see("● live · echo")
            await window.type("hello there")
            await window.see("▌ hello there", "echo: hello there")
            async with server.device() as ipad:
                await ipad.attach("trip", device_id="ipad")
                await ipad.send("trip", "\x1b]0;evil\x07\x1b[2Jstill here")
                await window.see("▌ ipad", "echo: ␛]0;evil␇␛[2Jstill here")
            # the server ends and comes back in the middle of an answer
            await window.type("/words 600 5")
            await window.see("w60 ")
            await server.terminate()
            await window.until(lambda screen: not is_live(screen), "the loss")
            await window.type("written without a server")
            await window.see("waiting to send")
            await server.restart()
            screen = await window.see("w599", "echo: written without a server")
            words = [int(one) for one in re.findall(r"\bw(\d+)\b", screen)]
            assert words == list(range(words[0], 600))
            # a laptop sleeps while the server restarts, and somebody else continues
            client = psutil.Process(await window.pid())
            client.suspend()
            await server.terminate()
            await server.restart()
            async with server.device() as ipad:
                await ipad.attach("trip", device_id="ipad")
                await ipad.ask("trip", "while you slept")
            client.resume()
            await window.until(
                lambda screen: "echo: while you slept" in screen and is_live(screen), "the return"
            )
            await window.type("awake")
            await window.see("echo: awake")
            await window.keys("-l", "a draft")
            await window.see("│ a draft")
            await window.keys("C-g")  # an editor of the person's own: here it is `sed`
            await window.see("│ a edited")
            await window.keys("C-c")
            await window.until(lambda screen: "edited" not in screen, "the empty box")
            shown = await leave(window)
            assert "STATUS=0" in shown
            assert re.search(r"(?<!-)\becho\b", shown), "the terminal shows what is typed again"
            assert re.search(r"(?<!-)\bicanon\b", shown)
        raw = bytes(window.raw)
        assert b"evil" in raw
        commands = set(re.findall(rb"\x1b\][^\x1b\x07]*", raw))
        assert {one for one in commands if not one.startswith(b"\x1b]22;")} == set(), (
            "only the mouse's own shape"
        )
        assert raw.rfind(b"\x1b[?1049l") > raw.rfind(b"\x1b[?1049h"), "the other screen is left"
        assert b"\x1b[?2004l" in raw
        async with server.device() as device:
            await device.attach("trip")
            said = [one["content"] for one in device.events("trip", "user_message")]
            assert said.count("written without a server") == 1


async def test_a_hang_up_ends_it_and_loses_nothing(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        async with open_tmux(server, tmp_path / "one", "attach", "trip", "--agent", "echo") as window:
            await window.see("● live · echo")
            await server.terminate()
            await window.until(lambda screen: not is_live(screen), "the loss")
            await window.type("for later")
            await window.see("waiting to send")
            pid = await window.pid()
            await window.run("kill-server")
            await gone(pid)
        await server.restart()
        async with open_tmux(server, tmp_path / "two", state=tmp_path / "one" / "state") as window:
            # the list: the session, and what was written for it goes out by itself
            await window.see("Sessions", "trip", "echo")
            async with server.device() as device:
                await device.attach("trip")
                await device.wait_for("complete", start=0)
                said = [one["content"] for one in device.events("trip", "user_message")]
                assert said == ["for later"]
            await window.keys("Enter")
            await window.see("▌ for later", "echo: for later")
            pid = await window.pid()
            os.kill(pid, signal.SIGTERM)
            await gone(pid)


@pytest.mark.parametrize(
    ("has_picture", "later"), [(False, ("rich.markdown", "markdown_it")), (True, ("textual.app",))]
)
def test_a_start_loads_neither_trio_nor_what_it_does_not_need(
    has_picture: bool, later: tuple[str, ...]
) -> None:
    """Nor does it load before the first picture what is needed after it."""
    unwanted = ("trio", "trio_websocket", "segno", "urllib.request", "pygments.lexers.python", *later)
    script = (
        "import sys, threading, builderos.commands.session, builderos.terminal.run as run;"
        "looked = threading.Event();"
        f"looked.wait = lambda _: print([one for one in {unwanted} if one in sys.modules]);"
        f"run._load(looked, has_picture={has_picture});"
        f"print([one for one in {unwanted} if one in sys.modules and one != 'textual.app'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n" * (1 + has_picture)
