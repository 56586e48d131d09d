"""Calling a relay of `bridgehub/1.0`: real processes, whatever they do."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from sys import executable
from typing import Any

import attrs
import psutil
import pytest
import trio

from bridgehub.agents.base import TurnEnd
from bridgehub.agents.registry import make_driver
from bridgehub.protocol.events import Consumed, Noticed, TextPiece, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import History, PastMessage, Prompt
from tests.bridgehub.hub_harness import make_spec
from tests.standin.rig import RecordingSink, eventually

RELAY = str(Path(__file__).parents[2] / "relay_program.py")
SECRET = "open-sesame-4711"


def relay_spec(folder: Path, **options: Any) -> HubSpec:
    table = {"command": [executable, "-I", RELAY], "direction": "codex_to_claude", "timeout_s": 30.0}
    spec = make_spec(folder, f"relay-{uuid.uuid4().hex}", agent="my-relay", kind="bridgehub/1.0")
    env = {"PATH": "/usr/bin:/bin", "RELAY_TOKEN": SECRET}
    return attrs.evolve(spec, workspace=str(folder), env=env, options=table | options)


async def turn(
    spec: HubSpec, content: str, past: History | None = None, **more: Any
) -> tuple[TurnEnd, RecordingSink]:
    sink = RecordingSink(past=past or History("t1", ()))
    with trio.fail_after(30):
        prompt = Prompt("t1", "m1", content, 0, **more)
        return await make_driver(spec).run_turn(prompt, sink), sink


async def failed(spec: HubSpec, content: str) -> TurnFailed:
    """Run a turn that must fail; return its end."""
    end, sink = await turn(spec, content)
    assert isinstance(end, TurnFailed)
    assert sink.text() == ""
    assert isinstance(sink.events[0], Consumed)
    return end


async def test_the_relay_starts_once_the_workspace_is_saved(tmp_path: Path) -> None:
    saved = trio.Event()
    sink = RecordingSink(saved=saved)
    spec = attrs.evolve(
        relay_spec(tmp_path), options=relay_spec(tmp_path).options | {"command": ["/missing"]}
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_driver(spec).run_turn, Prompt("t1", "m1", "hello", 0), sink)
        await sink.until(lambda seen: seen.waits_for_save)
        assert sink.events == []
        saved.set()
        await sink.until(lambda seen: bool(seen.of(Consumed)))


async def test_the_request_has_the_old_shape(tmp_path: Path) -> None:
    past = History("t1", (PastMessage("user", "first"), PastMessage("assistant", "sécond \0")))
    attachment = {"name": "a.txt", "path": "/x/a.txt"}
    end, sink = await turn(relay_spec(tmp_path), "request \u2603\0", past, attachments=(attachment,))
    assert isinstance(end, TurnDone)
    request = json.loads(sink.text())
    notes = request["payload"].pop("context")
    assert request == {
        "version": "bridgehub/1.0",
        "action": "freeform",
        "capsule": str(tmp_path),
        "session": "trip",
        "payload": {
            "message": "request \u2603\0",
            "intent": "mobile_claude_query",
            "direction": "codex_to_claude",
            "metadata": {"source": "builderos_mobile", "message_count": 3, "attachments": [attachment]},
        },
    }
    assert [(note["title"], note["role"]) for note in notes] == [
        ("Conversation History", "note"),
        ("Attachments", "note"),
    ]
    assert json.loads(notes[0]["content"]) == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "sécond \0"},
    ]
    assert json.loads(notes[1]["content"]) == [attachment]
    assert [type(event) for event in sink.events] == [Consumed, TextPiece]


async def test_the_process_gets_the_specs_environment_and_hub_id(tmp_path: Path) -> None:
    spec = relay_spec(tmp_path)
    _, sink = await turn(spec, "environment")
    known = json.loads(sink.text())
    assert {**spec.env, "BUILDEROS_HUB": spec.hub_id}.items() <= known.items()
    assert set(known) - set(spec.env) <= {"BUILDEROS_HUB", "LC_CTYPE"}  # Python's own locale


async def test_history_is_cut_oldest_first_and_the_cut_is_told(tmp_path: Path) -> None:
    past = History("t1", tuple(PastMessage("user", f"{n} {'ä' * 5000}") for n in range(40)), left_out=2)
    end, sink = await turn(relay_spec(tmp_path), "request", past)
    assert isinstance(end, TurnDone)
    request = sink.text()
    assert 110_000 < len(request.encode()) < 131_072
    body = json.loads(request)["payload"]
    kept = [int(item["content"].split()[0]) for item in json.loads(body["context"][0]["content"])]
    assert kept == list(range(40 - len(kept), 40))
    assert 1 < len(kept) < 40
    assert body["metadata"]["message_count"] == 43
    (notice,) = sink.of(Noticed)
    assert notice.code == "history_cut"
    assert notice.content.startswith(f"{42 - len(kept)} older messages")


async def test_a_message_that_fits_no_argument_is_refused(tmp_path: Path) -> None:
    end, sink = await turn(relay_spec(tmp_path), "x" * 131_000)
    assert isinstance(end, TurnFailed)
    assert (end.code, end.retryable) == ("agent_protocol", False)
    assert "too long" in end.content
    assert sink.events == []
    end, sink = await turn(relay_spec(tmp_path), "x" * 128_000)
    assert isinstance(end, TurnDone)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ('{"ok":true,"data":{"output":"the output"},"summary":"s"}', "the output"),
        ('{"ok":true,"summary":"the summary"}', "the summary"),
        ('{"ok":true,"data":{"output":""},"summary":"the summary"}', "the summary"),
        ('{"ok":true,"data":{"output":7}}', ""),
        ('{"ok":true}', ""),
    ],
)
async def test_where_the_answer_stands(tmp_path: Path, payload: str, text: str) -> None:
    end, sink = await turn(relay_spec(tmp_path), f"payload {payload}")
    assert isinstance(end, TurnDone)
    assert sink.text() == text
    assert [notice.code for notice in sink.of(Noticed)] == ([] if text else ["empty_answer"])


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        ('payload {"ok":false,"reason":"invalid_payload","details":"no role"}', "model_error", "no role"),
        ('payload {"ok":false}', "model_error", "no reason"),
        ("payload {not json", "agent_protocol", "not JSON"),
        ("payload []", "agent_protocol", "`ok`"),
        ('payload {"ok":"yes"}', "agent_protocol", "`ok`"),
        ("silent", "agent_protocol", "no answer today"),
        ("exit 3", "agent_exited", "exit status 3"),
        ("signal 9", "agent_exited", "signal 9"),
    ],
)
async def test_what_is_no_good_answer_is_an_error(tmp_path: Path, content: str, code: str, told: str) -> None:
    end = await failed(relay_spec(tmp_path), content)
    assert end.code == code
    assert told in end.content
    assert SECRET not in end.content
    assert len(end.content) < 5000


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    end = await failed(relay_spec(tmp_path, command=["/no/such/relay"]), "hello")
    assert (end.code, end.retryable) == ("not_installed", False)
    assert "/no/such/relay" in end.content


async def test_lines_may_be_long_and_output_a_flood(tmp_path: Path) -> None:
    end, sink = await turn(relay_spec(tmp_path), "big 5000000")
    assert isinstance(end, TurnDone)
    assert sink.text() == "y" * 5_000_000
    assert max(len(piece.text) for piece in sink.of(TextPiece)) <= 40 * 1024
    before = psutil.Process().memory_info().rss
    end, sink = await turn(relay_spec(tmp_path), "flood 100")
    assert isinstance(end, TurnDone)
    assert sink.text() == "after the flood"
    assert psutil.Process().memory_info().rss - before < 50e6


def left_in(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split() if psutil.pid_exists(int(line))]


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_a_timeout_ends_the_whole_tree(tmp_path: Path) -> None:
    end = await failed(relay_spec(tmp_path, timeout_s=0.7), "hang")
    assert end.code == "timeout"
    assert "0.7 s" in end.content
    assert "child" in end.content  # its last words
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


async def test_an_interrupt_ends_the_whole_tree(tmp_path: Path) -> None:
    driver, sink = make_driver(relay_spec(tmp_path)), RecordingSink()
    pids: list[int] = []
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run_turn, Prompt("t1", "m1", "hang", 0), sink)
            await eventually(lambda: (tmp_path / "pids").exists() and len(left_in(tmp_path)) == 2)
            pids = left_in(tmp_path)
            with trio.fail_after(20):
                await driver.interrupt()
                await eventually(lambda: all(is_gone(pid) for pid in pids))
    end, _ = await turn(relay_spec(tmp_path), "again")
    assert isinstance(end, TurnDone)


async def test_what_a_relay_leaves_running_ends_with_its_turn(tmp_path: Path) -> None:
    end, sink = await turn(relay_spec(tmp_path), "leave")
    assert isinstance(end, TurnDone)
    assert sink.text() == "left some"
    assert all(is_gone(int(line)) for line in (tmp_path / "pids").read_text().split())
