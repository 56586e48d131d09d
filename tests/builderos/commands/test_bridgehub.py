"""`builderos bridgehub`: real processes, called as the old relay was, also by our own driver of relays."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest
import trio

from bridgehub.agents.registry import make_driver
from bridgehub.protocol.events import TurnDone, TurnFailed
from bridgehub.protocol.messages import History, PastMessage, Prompt
from builderos.legacy.relay import InvalidPayload, decode_request
from tests.bridgehub.hub_harness import make_spec
from tests.standin.anthropic import open_standin, standin_env
from tests.standin.replies import Answer, Hang, ToolUse
from tests.standin.rig import RecordingSink, eventually
from tests.support.server import ROOT

MARK = "JARVIS_PAYLOAD="


def environment(**more: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "BUILDEROS_API_KEY": "not for agents", **more}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config in which both directions run the test agent."""
    path = tmp_path / "config.toml"
    path.write_text('[agents.claude]\nkind = "echo"\n[agents.codex]\nkind = "echo"\n')
    return path


def request(folder: Path, message: str, /, **payload: Any) -> dict[str, Any]:
    return {
        "version": "bridgehub/1.0",
        "action": "freeform",
        "capsule": str(folder),
        "session": "trip",
        "payload": {
            "message": message,
            "intent": "mobile_claude_query",
            "direction": "codex_to_claude",
            "context": [],
            "metadata": {"source": "builderos_mobile", "message_count": 1},
            **payload,
        },
    }


def write(path: Path, text: str) -> None:
    path.write_text(text)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "builderos", "bridgehub", *map(str, arguments)]


async def call(text: str, *arguments: object, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run the command; return what its one line says."""
    with trio.fail_after(60):
        done = await trio.run_process(
            [*command(*arguments), "--request", text],
            capture_stdout=True,
            capture_stderr=True,
            env=env or environment(),
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    out = done.stdout.decode()
    assert out.startswith(MARK)
    assert out.count("\n") == 1
    body: dict[str, Any] = json.loads(out.removeprefix(MARK))
    return body


async def test_the_answer_has_the_old_shape(tmp_path: Path, config: Path) -> None:
    note = {"title": "Conversation History", "role": "note", "content": "[]"}
    asked = request(tmp_path, "hello wörld", context=[note])
    body = await call(json.dumps(asked), "--config", config, "--data", tmp_path / "unused")
    prompt = "## Conversation History (note)\n\n[]\n\n## Message\n\nhello wörld"
    output = "echo: " + " ".join(prompt.split()) + " "
    assert body == {
        "ok": True,
        "action": "freeform",
        "summary": output.strip(),
        "data": {**asked["payload"], "prompt": prompt, "output": output},
        "logs": [],
    }
    assert not (tmp_path / "unused").exists()


async def test_nobody_is_asked(tmp_path: Path, config: Path) -> None:
    body = await call(json.dumps(request(tmp_path, "/ask may I")), "--config", config)
    assert body["data"]["output"] == "denied"
    assert [log.startswith("practice was denied") for log in body["logs"]] == [True]


async def test_a_bad_payload_is_told_in_the_line(config: Path) -> None:
    body = await call("{no json", "--config", config)
    assert (body["ok"], body["reason"]) == (False, "invalid_payload")
    assert "JSON" in body["details"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"message": ""}, "payload.message"),
        ({"message": 7}, "payload.message"),
        ({"direction": "sideways"}, "payload.direction"),
        ({"context": {}}, "payload.context"),
        ({"context": [{"role": "robot", "content": ""}]}, "payload.context[0].role"),
        ({"context": [{"role": "note"}]}, "payload.context[0].content"),
        ({"metadata": []}, "payload.metadata"),
    ],
)
def test_what_is_no_payload(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        decode_request(json.dumps(request(tmp_path, "x", **change)))
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "7", "{}", '{"payload":[]}', '{"version":"2","payload":{}}'])
def test_what_is_no_request(text: str) -> None:
    with pytest.raises(InvalidPayload):
        decode_request(text)


def test_direction_picks_the_agent_and_codex_is_the_default(tmp_path: Path) -> None:
    asked = request(tmp_path, "x")
    assert decode_request(json.dumps(asked)).agent == "claude"
    del asked["payload"]["direction"]
    assert decode_request(json.dumps(asked)).agent == "codex"


async def test_a_folder_that_is_not_there_and_an_agent_that_is_a_relay(tmp_path: Path, config: Path) -> None:
    body = await call(json.dumps(request(tmp_path / "gone", "x")), "--config", config)
    assert (body["reason"], body["details"]) == ("invalid_payload", "capsule is not a folder on this machine")
    write(config, '[agents.claude]\nkind = "bridgehub/1.0"\ncommand = ["x"]\ndirection = "codex_to_claude"\n')
    body = await call(json.dumps(request(tmp_path, "x")), "--config", config)
    assert (body["ok"], body["reason"]) == (False, "not_configured")


def test_a_wrong_call_has_a_status(tmp_path: Path, config: Path) -> None:
    config.write_text("nonsense = 1\n")
    for arguments in (["--config", config, "--request", "{}"], []):
        done = subprocess.run(command(*arguments), env=environment(), capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.count(b"\n") == 1


async def test_claude_answers_and_may_do_nothing_unasked(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    async with open_standin() as standin:
        use = ToolUse("Bash", {"command": "touch made.txt", "description": "make it"})
        standin.script(Answer.of(use), Answer.of("I could ", "not"))
        env = environment(**standin_env(standin.url, str(tmp_path / "home")))
        body = await call(json.dumps(request(tmp_path, "make a file")), env=env)
        assert body["data"]["output"] == "I could not"
        assert body["logs"][0].startswith("Bash was denied")
        assert not (tmp_path / "made.txt").exists()
        assert "make a file" in standin.requests[0].user_texts[-1]


async def test_a_signal_ends_the_agent_too(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    async with open_standin() as standin:
        standin.script(Hang())
        env = environment(**standin_env(standin.url, str(tmp_path / "home")))
        text = json.dumps(request(tmp_path, "x"))
        process = await trio.lowlevel.open_process(
            [*command(), "--request", text], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with trio.fail_after(60):
            await standin.request(1)
            below = psutil.Process(process.pid).children(recursive=True)
            assert below
            process.terminate()
            assert await process.wait() == 1
            assert process.stdout is not None
            assert process.stderr is not None
            assert await process.stdout.receive_some() == b""
            await eventually(lambda: not any(child.is_running() for child in below))
            await process.stdout.aclose()
            await process.stderr.aclose()


async def relay_turn(folder: Path, env: dict[str, str], message: str, *arguments: object) -> RecordingSink:
    """Run a turn of our own driver of relays on our own relay."""
    options = {"command": command(*arguments), "direction": "codex_to_claude", "timeout_s": 60.0}
    spec = make_spec(folder, f"round-{uuid.uuid4().hex}", agent="relay", kind="bridgehub/1.0")
    spec = attrs.evolve(spec, workspace=str(folder), env=env, options=options)
    past = (PastMessage("user", "MARKER-old"), PastMessage("assistant", "so be it"))
    sink = RecordingSink(past=History("t1", past))
    with trio.fail_after(60):
        end = await make_driver(spec).run_turn(Prompt("t1", "m1", message, 1), sink)
    if isinstance(end, TurnFailed):
        sink.memory = {"failed": end.content}
    else:
        assert isinstance(end, TurnDone)
    return sink


async def test_our_relay_driver_calls_our_relay(tmp_path: Path, config: Path) -> None:
    sink = await relay_turn(tmp_path, environment(), "hello " + "long " * 2000, "--config", config)
    assert sink.text().startswith("echo: ## Conversation History (note) [ {")
    assert "MARKER-old" in sink.text()
    assert sink.text().endswith("## Message hello " + "long " * 2000)


async def test_claude_behind_two_relays(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    async with open_standin() as standin:
        env = environment(**standin_env(standin.url, str(tmp_path / "home")))
        sink = await relay_turn(tmp_path, env, "are you there")
        assert sink.text().startswith("standin: 1 user messages")
        assert "MARKER-old" in sink.text()
    failed = await relay_turn(tmp_path, environment(), "x", "--config", "/no/such")
    assert "status 2" in failed.memory["failed"]
