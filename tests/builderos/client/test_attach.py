"""A terminal as a device: real processes on a real server."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from builderos.client.keyboard import LineReader
from builderos.commands.session import Target, run_attach
from tests.builderos.terminal import open_terminal, run_command
from tests.support.server import open_server


async def test_two_terminals_see_the_same(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.see("— trip · echo · idle —")
        async with open_terminal(server, "trip", "--device", "two") as two:
            await two.see("with one")
            await one.type("hello there")
            for terminal, author in ((one, "you"), (two, "one")):
                await terminal.see(f"[{author}] hello there\n")
                await terminal.see("echo: hello there \n— complete —\n")
            await two.type("and back")
            await one.see("[two] and back\n")
            await one.see("echo: and back \n— complete —\n")
            assert await two.end_input() == 0
        assert await one.interrupt() == 0


async def test_a_permission_is_answered_by_one_letter(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
        open_terminal(server, "trip", "--agent", "echo", "--observe", "--device", "eye") as eye,
    ):
        await one.see("idle")
        await eye.see("idle")
        await one.type("/ask may I")
        await one.see('? practice {"text":"may I"}\n? a allows, for this session:\n?   practise may I\n')
        await eye.type("y")
        await eye.see("you observe")
        await one.type("n")
        await one.see('— practice {"text":"may I"}: denied by you —')
        await eye.see('— practice {"text":"may I"}: denied by one —')
        await one.see("denied by you —\ndenied\n— complete —")
        await one.type("/ask again")
        await one.see("allow it?", times=2)
        await one.type("y")
        await one.see("allowed by you —\nallowed\n— complete —")


async def test_a_letter_answers_the_request_that_is_shown_whole(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.type("/ask " + "ls" + " " * 700 + "; rm -rf ~")
        await one.see("? practice text: ls⟦700 blanks⟧; rm -rf ~\n? a allows, for this session:\n")
        await one.type("n")
        await one.see("denied by you —\ndenied\n— complete —")
        await one.type("/ask " + "x" * 4001)
        await one.see("cannot be allowed here")
        await one.type("y")
        await one.see("— it is too long to show here; allow it on another device, or deny it with n —")
        await one.type("n")
        await one.see("complete —", times=2)


async def test_commands(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.type("/cancel")
        await one.see("you have no waiting message")
        await one.type("/hang")
        await one.see("[you] /hang")
        await one.type("later")
        await one.see("— queued —")
        await one.type("/cancel")
        await one.see("— cancelled —")
        await one.type("/interrupt")
        await one.see("— interrupted by one —")
        await one.type("/interrupt")
        await one.see("refused, nothing_to_interrupt")
        await one.type("/quit")
        assert await one.wait() == 0


async def test_nothing_that_a_terminal_obeys_comes_through(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", "a\x1b]0;owned\x07b \x9b31m\rc")
        _, shown, _ = await run_command(server, "attach", "trip")
        assert "␛]0;owned␇" in shown
        assert not [char for char in shown if char != "\n" and (ord(char) < 32 or 127 <= ord(char) < 160)]


async def test_a_terminal_survives_the_server(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.type("/words 80 25")
        await one.see("w5 ")
        await server.kill9()
        await one.see("trying again —")
        await one.type("while nobody is there")
        await server.restart()
        await one.see("echo: while nobody is there \n— complete —")
        words = [word for word in one.shown.split() if word[:1] == "w" and word[1:].isdigit()]
        assert words == [f"w{i}" for i in range(80)]
        assert one.shown.count("[you] while nobody is there") == 1


async def test_a_pipe_gets_the_answers_to_all_that_it_sent(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        status, shown, _ = await run_command(
            server, "attach", "trip", "--agent", "echo", stdin=b"one\ntwo\n/words 20 20"
        )
        assert status == 0
        assert "echo: one \n— complete —" in shown
        assert shown.endswith("w18 w19 \n— complete —\n")


async def test_a_session_that_is_not_there(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        status, _, err = await run_command(server, "attach", "nowhere")
        assert status == 1
        assert len(err.splitlines()) == 1
        status, _, err = await run_command(server, "attach", "nowhere", "--agent", "nobody")
        assert status == 1
        status, _, err = await run_command(server, "attach", "no where")
        assert status == 2
        status, _, err = await run_command(server, "attach", "nowhere", "--key", "wrong")
        assert (status, len(err.splitlines())) == (1, 1)
        assert "wrong" not in err
        await server.terminate()
        status, _, err = await run_command(server, "attach", "nowhere")
        assert (status, len(err.splitlines())) == (1, 1)
        assert "no server runs" in err


async def test_a_request_shows_without_history_and_a_deletion_is_said(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.type("/ask may I")
        await one.see("allow it?")
        async with open_terminal(server, "trip", "--history", "0", "--device", "two") as two:
            await two.see("allow it?")
            await two.type("n")
            await one.see("denied by two —\ndenied\n— complete —")
        headers = {"Authorization": f"Bearer {server.key}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as http:
            assert (await http.delete("/api/sessions/trip")).status_code == 200
        assert await one.wait() == 1
        await one.see("builderos: the server refuses: the session was deleted\n")


async def test_lines_from_a_pipe() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, "one\r\ntwö\n\nlast".encode())
        os.close(writing)
        lines = LineReader(reading)
        with trio.fail_after(20):
            found = [await lines.next_line() for _ in range(5)]
        assert found == ["one", "twö", "", "last", None]
    finally:
        os.close(reading)


async def test_a_session_is_steered(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.type("hello")
        await one.see("— complete —\n")
        await one.type("/model")
        await one.see("— /model: echo-1, echo-2 —")
        await one.type("/model echo-2")
        await one.see("The session uses model echo-2, mode by default, effort by default now.")
        await one.type("/effort high")
        await one.see("model echo-2, mode by default, effort high now.")
        await one.type("/plan")
        await one.see("model echo-2, mode plan, effort high now.")
        await one.type("/model -")
        await one.see("model by default, mode plan, effort high now.")
        await one.type("/mode nonsense")
        await one.see("refused, bad_setting")
        await one.type("/settings")
        await one.see("model=echo-1 mode=plan effort=high")
        await one.type("/status")
        await one.see("— model as the agent has it · mode plan · effort high")
        await one.type("/fork a copy")
        await one.see("— forked: builderos attach ")
        await one.type("/pin")
        await one.see("— pin: done —")
        await one.type("/renew")
        await one.see("starts a new conversation")
        await one.type("//sendnow is text")
        await one.see("[you] /sendnow is text")


async def test_a_plan_is_approved_with_a_mode_or_sent_back_with_words(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.type("/plan paint it")
        await one.see(
            "paint it\n? approve it? y, y MODE to change the mode too, n, or n WORDS for another plan"
        )
        await one.type("y nonsense")
        await one.see("refused, bad_setting")
        await one.type("y edits")
        await one.see("— the plan: allowed by you —")
        await one.see("mode edits")
        await one.see("— complete —")
        await one.type("/plan it again")
        await one.see("? approve it?", times=2)
        await one.type("n do it in blue")
        await one.see("— the plan: denied by you —")
        await one.see("do it in blue")


async def test_messages_for_later(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.type("/later tomorrow go on")
        await one.see("not sent: it is /later TIME TEXT")
        await one.type("/sendnow")
        await one.see("there is no such message for later")
        for text in ("first", "second", "third"):
            await one.type(f"/later +1d {text}")
            await one.see(f"[you] {text} (for ")
        await one.type("/queue")
        await one.see(" third\n")
        await one.type("/sendnow")
        await one.see("there is no such message for later", times=2)
        await one.type("/sendnow 2")
        await one.see("echo: second \n— complete —")
        await one.type("/cancel 2")
        await one.see("— cancelled —")
        await one.type("/sendnow")
        await one.see("echo: first \n— complete —")
        await one.type("/later +2d not now")
        await one.see("[you] not now (for ")
        assert await one.end_input() == 0


async def test_the_work_is_shown_and_taken_back(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    note = trio.Path(workspace / "note.txt")
    async with (
        open_server(tmp_path, arguments=("--workspace", str(workspace))) as server,
        open_terminal(server, "trip", "--agent", "echo", "--device", "one") as one,
    ):
        await one.see("idle")
        await one.type("/undo")
        await one.see("— there is nothing to take back yet —")
        await one.type("/ask work")
        await one.see("allow it?")
        await note.write_text("agent\x1b[2J\n")
        await one.type("y")
        await one.see("— 1 file, +1 −0 · /changes · /undo —\n")
        await one.type("/changes")
        await one.see("A note.txt  +1 −0\n\ndiff --git a/note.txt b/note.txt\n")
        await one.see("+agent\u241b[2J\n")
        await one.type("/files")
        await one.see("\nnote.txt\n")
        await one.type("/files ?nt")
        await one.see("note.txt\nnote.txt\n")
        await one.type("/files note.txt")
        await one.see("\nagent\u241b[2J\n")
        await one.type("/files ../..")
        await one.see("— refused, outside_workspace: The path leaves the workspace. —")
        await one.type("/undo")
        await one.see("— Changes taken back: 1 file. —\n  note.txt\n")
        assert not await note.exists()
        await one.type("/redo")
        await one.see("— Changes taken back: 1 file. —\n  note.txt\n", times=2)
        assert await note.exists()
        await one.type("/undo force")
        await one.see("— Changes taken back: 1 file. —\n  note.txt\n", times=3)


async def test_a_machine_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        for words in (("attach", "trip"), ("send", "trip", "hello")):
            status, out, err = await run_command(server, *words, "--agent", "echo", "--node", "mini")
            assert (status, out, err.count("\n")) == (1, "", 1)
            assert "no machine mini" in err
            assert (await run_command(server, *words, "--node", "a b"))[0] == 2


async def test_the_full_screen_opens_only_if_the_machine_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def run_terminal(_: object, __: str, **how: object) -> int:
        opened.append(how["session_id"])
        return 0

    monkeypatch.setattr("builderos.terminal.run.can_run", lambda _: True)
    monkeypatch.setattr("builderos.terminal.run.run_terminal", run_terminal)
    async with open_server(tmp_path) as server:
        for node, status in (("mini", 1), (None, 0)):
            target, where = Target("trip", "echo", None, node), (server.data, None, None)
            attach = partial(run_attach, where, target, observe=False, history=1)
            assert await trio.to_thread.run_sync(attach) == status
    assert opened == ["trip"]
