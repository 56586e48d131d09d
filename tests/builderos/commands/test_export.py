"""An export has every message, from the folder and from a server the same, and reads well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tty
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from builderos.client.wire.frames import Frame, decode, encode
from builderos.commands.export import run_export
from builderos.commands.import_ import ImportOptions, run_import
from builderos.export.state import AnswerItem, Document, RequestItem
from builderos.export.text import markdown
from tests.builderos.old_server import said, write_old
from tests.builderos.terminal import command_line, run_command
from tests.e2e.shared_server import all_events, open_http
from tests.support.server import ROOT, open_server

MessageRecord = tuple[str, Mapping[str, Any]]
"""An event: its kind and its own fields."""


def frames(*events: MessageRecord) -> Iterator[Frame]:
    for seq, (kind, fields) in enumerate(events, start=1):
        own = {"content": "", "turn_id": "t", "timestamp": "2026-01-02T03:04:05.000Z", **fields}
        yield decode(encode(kind, session_id="trip", epoch=1, seq=seq, first_seq=seq, **own))


def parts(*events: MessageRecord) -> list[RequestItem | AnswerItem]:
    conversation = Document()
    return [part for frame in frames(*events) for part in conversation.take(frame)] + list(
        conversation.rest()
    )


ASKED: MessageRecord = ("user_message", {"message_id": "m", "content": "do it\n# now", "device_id": "phone"})
STARTED: MessageRecord = ("turn_started", {"message_id": "m"})


def test_a_turn_with_tools_and_a_question() -> None:
    question, answer = parts(
        ASKED,
        STARTED,
        ("message", {"block": "1", "offset": 0, "content": "Read"}),
        ("message", {"block": "1", "offset": 4, "content": "ing."}),
        ("tool_started", {"tool_id": "x", "name": "Bash", "input": {"command": "ls `a`"}}),
        ("tool_finished", {"tool_id": "x", "name": "Bash", "output": "no", "is_error": True}),
        ("permission_requested", {"request_id": "r", "content": "Write asks for permission."}),
        ("permission_resolved", {"request_id": "r", "content": "Denied by mac."}),
        ("message", {"block": "2", "offset": 0, "content": "```\nopen code"}),
        ("error", {"code": "model_error", "content": "overloaded"}),
    )
    assert markdown(question, "claude") == "\n## phone, 2026-01-02 03:04:05\n\n> do it\n> # now\n"
    assert markdown(answer, "claude") == (
        "\n### claude\n\nReading.\n\n"
        '- Bash: `{"command":"ls \'a\'"}` (failed)\n'
        "- Write asks for permission. Denied by mac.\n"
        "\n```\nopen code\n```\n"
        "\n**Error** (model_error): overloaded\n"
    )
    assert isinstance(answer, AnswerItem)
    assert (answer.status, answer.content) == ("error", "Reading.```\nopen code")


def test_what_has_no_answer_says_why() -> None:
    (alone,) = parts(ASKED, ("delivery", {"message_id": "m", "state": "cancelled"}))
    assert markdown(alone, "x").endswith("\n*cancelled*\n")
    (waits,) = parts(ASKED, ("delivery", {"message_id": "m", "state": "queued"}))
    assert markdown(waits, "x").endswith("\n*queued*\n")
    assert markdown(parts(ASKED, STARTED)[1], "x").endswith("*still running*\n")


@given(st.lists(st.sampled_from(["```", "````", "~~~", "```py", "    ```", "text", ""]), max_size=8))
def test_code_never_swallows_what_follows(lines: Sequence[str]) -> None:
    text = "\n".join(lines)
    told = ("message", {"block": "1", "offset": 0, "content": text})
    shown = markdown(parts(ASKED, STARTED, told, ("complete", {}))[1], "x").removeprefix("\n### x\n\n")
    assert shown.startswith(text)
    twice = ("message", {"block": "1", "offset": 0, "content": shown})
    again = markdown(parts(ASKED, STARTED, twice, ("complete", {}))[1], "x").removeprefix("\n### x\n\n")
    assert again == shown


async def test_folder_and_server_give_the_same(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server, server.device() as device, open_http(server) as http:
        await device.attach("trip", agent="echo", device_id="pad")
        for text in ("hello there", "/task look around", "/big 300000", "/words 3"):
            await device.ask("trip", text)
        where = ("--url", server.url, "--key", server.key)
        for form in ("json", "md"):
            status, local, err = await run_command(server, "export", "trip", "--format", form)
            assert (status, err) == (0, "")
            assert await run_command(server, "export", "trip", "--format", form, *where) == (0, local, "")
            if form == "json":
                body = json.loads(local)
        assert body["events"] == await all_events(http, "trip")
        answer = await http.get("/api/sessions/trip/messages")
        listed = answer.json()["messages"]
        for name in ("seq", "turn_id", "role", "content", "timestamp", "device_id", "attachments"):
            assert [one[name] for one in body["messages"]] == [one[name] for one in listed], name
        assert body["message_count"] == len(listed) == 8
        assert local.startswith("# trip\n")
        assert "> hello there\n\n### echo\n\necho: hello there \n" in local
        status, out, err = await run_command(server, "export", "nothing", *where)
        assert (status, out) == (1, "")
        assert "no session nothing" in err


@pytest.mark.parametrize("form", ["md", "json"])
async def test_a_terminal_gets_nothing_that_it_obeys(form: str, tmp_path: Path) -> None:
    said = "a\x1b]0;owned\x07b \x9b31m\u202ec\x7f"
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", said)
        command = command_line(server, "export", "trip", "--format", form)
        shown = await on_terminal(command, dict(server.environment))
        assert not [
            char for char in shown if char not in "\n\t" and not char.isprintable() and char != "\ufffd"
        ]
        _, piped, _ = await run_command(server, "export", "trip", "--format", form)
    if form == "json":
        assert json.loads(shown) == json.loads(piped), "the same, but for how it is written"
    else:
        assert "␛]0;owned␇b" in shown
        assert said in piped, "a file gets what was said"


async def on_terminal(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command on a terminal of its own; return what it wrote there."""
    ours, theirs = os.openpty()
    try:
        tty.setraw(theirs)  # new lines stay as they are
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.run_process, command, stdout=theirs, cwd=ROOT, env=environment))
            shown = b""
            with trio.fail_after(30):  # noqa: ASYNC912 - waits for its condition
                while not shown.endswith((b"complete*\n", b"]\n}\n", b"c\xe2\x90\xa1 \n")):
                    shown += await trio.to_thread.run_sync(os.read, ours, 65536, abandon_on_cancel=True)
        return shown.decode()
    finally:
        os.close(theirs)
        os.close(ours)


def test_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = (tmp_path / "data", None, None)
    assert run_export(where, "trip", "md") == 1
    assert "there is no database yet" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    long = [said(number, ("user", "assistant")[number % 2], f"message {number}") for number in range(600)]
    file = write_old(tmp_path / "a.db", {"trip": long})
    options = ImportOptions(
        files=(file,), data=tmp_path / "data", workspace=tmp_path, zone="UTC", dry_run=False
    )
    assert run_import(options) == 0
    capsys.readouterr()
    assert run_export(where, "trip", "json") == 0
    body = json.loads(capsys.readouterr().out)
    assert [one["content"] for one in body["messages"]] == [one["content"] for one in long]
    assert [event["seq"] for event in body["events"]] == list(range(1, body["head_seq"] + 1))
    assert run_export(where, "other", "json") == 1
    assert "no session other" in capsys.readouterr().err


async def test_a_reader_that_leaves_early(tmp_path: Path) -> None:
    long = [said(number, "user", "word " * 200) for number in range(600)]
    file = write_old(tmp_path / "a.db", {"trip": long})
    options = ImportOptions(
        files=(file,), data=tmp_path / "data", workspace=tmp_path, zone="UTC", dry_run=False
    )
    assert await trio.to_thread.run_sync(run_import, options) == 0
    command = [sys.executable, "-m", "builderos", "export", "trip", "--data", str(tmp_path / "data")]
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.receive_some(10)
        await process.stdout.aclose()
        err = b"".join([chunk async for chunk in process.stderr]).decode()
        assert await process.wait() == 1
        await process.stderr.aclose()
    assert err == "builderos: the reader closed the output too early\n"


async def breaking_off(announced: int) -> tuple[int, str, str]:
    """Export from a server that sends less than it announced; return status, stdout and stderr."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/markdown\r\nTransfer-Encoding: chunked\r\n\r\n{announced:x}\r\n"

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65536)
            await stream.send_all(head.encode() + b"# trip\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        command = [sys.executable, "-m", "builderos", "export", "trip", "--url", url, "--key", "k"]
        with trio.fail_after(30):
            done = await trio.run_process(
                command, cwd=ROOT, capture_stdout=True, capture_stderr=True, check=False
            )
        nursery.cancel_scope.cancel(reason="enough")
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_a_server_that_breaks_off_is_an_error() -> None:
    status, out, err = await breaking_off(1000)
    assert (status, out) == (1, "# trip\n")
    assert len(err.splitlines()) == 1
    assert "the server cannot be read" in err
