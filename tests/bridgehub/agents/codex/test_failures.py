"""The codex driver where something is missing, refused, killed or flooding."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from bridgehub.agents.codex.driver import CodexDriver
from bridgehub.agents.codex.start import find_program
from bridgehub.protocol.events import BlockDropped, Consumed, Noticed, TextPiece, TurnDone, TurnFailed
from tests.standin.openai import shell
from tests.standin.openai_rig import CodexRig, CodexSink, deciding, open_codex_rig
from tests.standin.replies import Answer, Broken, Failure, Hang, Reply, Text
from tests.standin.rig import eventually, stopped_at_its_start

ONE_RETRY = "request_max_retries = 0\nstream_max_retries = 1\n"

CASES = [
    (Failure(401, "invalid_api_key", "bad key"), "not_signed_in", False, 1),
    (Failure(403, "forbidden", "may not"), "model_error", False, 1),
    (Failure(400, "invalid_request", "odd"), "model_error", False, 0),
    (Failure(429, "rate_limit_exceeded", "slow down"), "model_error", True, 0),
    (Failure(500, "server_error", "broken"), "model_error", True, 1),
    (Failure(503, "server_is_overloaded", "busy"), "model_error", True, 0),
]


async def test_errors_of_the_service_end_the_turn_and_the_next_works(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver(more=ONE_RETRY)
        for failure, code, retryable, retries in CASES:
            rig.standin.fallback = lambda seen, failure=failure: failure  # type: ignore[misc]
            end, sink = await rig.turn(driver, "hello")
            assert isinstance(end, TurnFailed), failure
            assert (end.code, end.retryable) == (code, retryable), failure
            assert sink.events[0] == Consumed(f"turn-{rig.turns}")
            assert not sink.of(TextPiece)
            notices = sink.of(Noticed)
            assert [(notice.code, notice.attempt) for notice in notices] == [("agent_retry", 1)] * retries
            if code == "not_signed_in":
                assert "codex login" in end.content
        rig.standin.fallback = lambda seen: Answer.of("well")
        end, sink = await rig.turn(driver, "hello")
        assert isinstance(end, TurnDone)
        assert sink.text() == "well"


async def test_a_retry_that_succeeds_is_a_good_turn(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        fails: list[Reply] = [Failure(500, "server_error", "broken")] * 2
        rig.standin.script(*fails, Broken(Answer.of("half an ")), Answer.of("the whole answer"))
        end, sink = await rig.turn(rig.driver(more="request_max_retries = 0\n"), "hello")
        assert isinstance(end, TurnDone)
        assert [notice.attempt for notice in sink.of(Noticed)] == [1, 2, 1]
        assert [piece.text for piece in sink.of(TextPiece)] == ["half an ", "the whole answer"]
        first, second = (piece.block for piece in sink.of(TextPiece))
        assert first != second
        assert sink.of(BlockDropped) == [BlockDropped(f"turn-{rig.turns}", "text", first)]


async def test_not_signed_in_is_known_before_anything_is_sent(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver(env={"OPENAI_API_KEY": "sk-not-read-by-codex"})
        config = rig.home / ".codex" / "config.toml"
        ours = config.read_text()
        config.write_text(f'openai_base_url = "{rig.standin.url}/v1"\n[analytics]\nenabled = false\n')
        end, sink = await rig.turn(driver, "hello")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.retryable) == ("not_signed_in", False)
        assert "codex login" in end.content
        assert sink.events == []
        assert rig.standin.requests == []
        config.write_text(ours)
        end, _ = await rig.turn(driver, "hello")
        assert isinstance(end, TurnDone)


@pytest.mark.parametrize("state", ["idle", "thinking", "streaming", "command", "question"])
async def test_killed_in_any_state_the_next_turn_resumes(tmp_path: Path, state: str) -> None:
    async with open_codex_rig(tmp_path) as rig:
        mode = {"command": "never"}.get(state)
        driver, sink = rig.driver(permission_mode=mode), CodexSink()
        _, first = await rig.turn(driver, "first")
        if state != "idle":
            await _kill_in(rig, driver, sink, state)
        else:
            _kill(rig)
        end, again = await rig.turn(driver, "after")
        assert isinstance(end, TurnDone)
        said = rig.standin.requests[-1].user_texts
        assert said == (("first", "after") if state == "idle" else ("first", "doomed", "after"))
        assert again.memory == {}, "the same thread"
        assert first.memory


@pytest.mark.parametrize("state", ["starting", "unread"])
async def test_killed_before_it_has_the_prompt(tmp_path: Path, state: str) -> None:
    """`unread`: the prompt is written, Codex has not looked at it: another program gets it, in the same turn."""
    async with open_codex_rig(tmp_path) as rig:
        driver, sink, ends = rig.driver(), CodexSink(), list[object]()
        if state == "unread":
            await rig.turn(driver, "first")
            rig.programs()[0].suspend()
        else:
            driver.spec = rig.spec(options=stopped_at_its_start(find_program(rig.spec()), tmp_path))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def run() -> None:
                ends.append((await rig.turn(driver, "doomed", sink))[0])

            if state == "unread":
                await eventually(lambda: bool((session := driver._session) and session._turn))
                await trio.testing.wait_all_tasks_blocked()
            await eventually(lambda: bool(rig.programs()))
            for process in rig.programs():
                process.kill()
        [end] = ends
        if state == "unread":
            assert isinstance(end, TurnDone)
            assert [seen.user_texts for seen in rig.standin.requests] == [("first",), ("first", "doomed")]
        else:
            assert isinstance(end, TurnFailed)
            assert (end.code, end.retryable, sink.events) == ("agent_exited", True, [])
        driver.spec = rig.spec()
        end, _ = await rig.turn(driver, "after")
        assert isinstance(end, TurnDone)
        assert rig.standin.requests[-1].user_texts[-1] == "after"


async def _kill_in(rig: CodexRig, driver: CodexDriver, sink: CodexSink, state: str) -> None:
    reply: dict[str, Reply] = {
        "thinking": Hang(),
        "streaming": Answer.of(Text.of("half ", trio.Event())),
        "command": Answer.of(shell("sleep 987")),
        "question": Answer.of(shell("touch made")),
    }
    rig.standin.script(reply[state])
    ends: list[object] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def run() -> None:
            ends.append((await rig.turn(driver, "doomed", sink))[0])

        await rig.standin.request(2)
        if state == "streaming":
            await sink.until(lambda seen: bool(seen.text()))
        if state == "question":
            await sink.until(lambda seen: bool(sink.asked))
        if state == "command":
            await eventually(lambda: rig.runs("sleep"))
        _kill(rig)
    [end] = ends
    assert isinstance(end, TurnFailed)
    assert (end.code, end.retryable) == ("agent_exited", True)
    assert "signal 9" in end.content
    assert sink.of(Consumed)
    await eventually(lambda: rig.programs() == [])


def _kill(rig: CodexRig) -> None:
    for process in rig.programs():
        with suppress(psutil.Error, OSError):  # it went while it was looked at
            if "app-server" in process.cmdline():
                process.kill()


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"options": {"cli_path": "/nowhere/codex"}}, "not_installed", "/nowhere/codex"),
        ({"workspace": "/nowhere/at/all"}, "agent_exited", "/nowhere/at/all"),
        ({"permission_mode": "nonsense"}, "agent_exited", "nonsense"),
        ({"options": {"cli_path": "/bin/false"}}, "agent_exited", "exit status 1"),
        ({"options": {"cli_path": "/etc/hostname"}}, "agent_exited", "could not be started"),
    ],
)
async def test_a_program_that_does_not_come_up(
    tmp_path: Path, changes: dict[str, object], code: str, told: str
) -> None:
    async with open_codex_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(**changes), "hello")
        assert isinstance(end, TurnFailed)
        assert end.code == code
        assert told in end.content
        assert sink.events == []
        assert rig.programs() == []


async def test_without_the_package_the_turn_says_how_to_install_it() -> None:
    code = """
import sys, trio
sys.modules["codex_cli_bin"] = None
from bridgehub.agents.codex.driver import make_driver
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Prompt
from tests.standin.openai_rig import CodexSink
spec = HubSpec("h", "s", "codex", "codex", "", "", "/", {}, {}, "x")
end = trio.run(make_driver(spec).run_turn, Prompt("t", "m", "hello", 0), CodexSink())
print(end.code, end.content)
"""
    with trio.fail_after(40):
        done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    assert done.stdout.startswith(b"not_installed")
    assert b"make install" in done.stdout


async def test_the_driver_loads_nothing_of_the_package() -> None:
    code = (
        "import sys; import bridgehub.agents.codex; "
        "print([name for name in sys.modules if name.startswith(('openai_codex', 'codex_cli', 'pydantic'))])"
    )
    with trio.fail_after(40):
        done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    assert done.stdout == b"[]\n"


# The id of the thread is one that Codex could have made: it calls any other invalid, and not unknown.
BEGIN = """#!{python}
import json, sys
def tell(**message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()
def serve(on_turn):
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue
        tell(id=asked["id"], result={{"thread": {{"id": "01a2033a-5186-7871-8b90-30cba945faa1"}}, "turn": {{"id": "u"}}}})
        if asked["method"] == "turn/start":
            on_turn()
"""


def fake(rig: CodexRig, on_turn: str) -> dict[str, object]:
    """Make a program that speaks the protocol up to the turn, on pipes alone; return the options that lead to it."""
    program = rig.home / "fake-codex"
    body = "def on_turn():\n" + "".join(f"    {line}\n" for line in on_turn.splitlines())
    program.write_text(BEGIN.format(python=sys.executable) + body + "serve(on_turn)\n")
    program.chmod(0o755)
    return {"options": {"cli_path": str(program)}}


DONE = (
    'tell(method="turn/completed", params={"threadId": "01a2033a-5186-7871-8b90-30cba945faa1", '
    '"turn": {"id": "u", "status": "completed"}})'
)


BEGUN = 'tell(method="turn/started", params={"threadId": "01a2033a-5186-7871-8b90-30cba945faa1", "turn": {"id": "u"}})'


async def test_a_file_that_is_not_executable_is_named(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        program = tmp_path / "codex"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o644)
        end, _ = await rig.turn(rig.driver(options={"cli_path": str(program)}), "hello")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.retryable) == ("not_installed", False)
        assert f"The file {program} is not executable" in end.content


@pytest.mark.parametrize(
    ("on_turn", "code"),
    [
        ('print("no json", flush=True)', "agent_protocol"),
        ('print("[1]", flush=True)', "agent_protocol"),
        ('sys.stdout.write("x" * (65 << 20)); sys.stdout.flush()', "agent_protocol"),
        (f'{BEGUN}; sys.stderr.write("last words"); sys.exit(7)', "agent_exited"),
        ("sys.exit(7)", "agent_exited"),
        (f"{BEGUN}; import os, time; os.close(1); time.sleep(60)", "agent_exited"),
    ],
)
async def test_garbage_and_exits_end_the_turn_only(tmp_path: Path, on_turn: str, code: str) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver(**fake(rig, on_turn))
        end, _ = await rig.turn(driver, "hello")
        assert isinstance(end, TurnFailed)
        assert end.code == code
        if on_turn == "sys.exit(7)":
            assert "ended twice" in end.content
        elif "sys.exit" in on_turn:
            assert "exit status 7" in end.content
            assert "last words" in end.content
        assert rig.programs() == []
        driver.spec = rig.spec()
        end, _ = await rig.turn(driver, "again")
        assert isinstance(end, TurnDone)


async def test_a_program_that_hangs_at_its_start_is_given_up(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        program = tmp_path / "hangs"
        program.write_text("#!/bin/sh\nexec sleep 987\n")
        program.chmod(0o755)
        driver = rig.driver(options={"cli_path": str(program)}, start_s=0.5)
        end, sink = await rig.turn(driver, "hello")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.content) == ("agent_exited", "Codex did not start within 0.5 s.")
        assert sink.events == []
        assert rig.programs() == []
        driver.spec = rig.spec()
        end, _ = await rig.turn(driver, "again")
        assert isinstance(end, TurnDone)


async def test_fields_of_other_kinds_do_no_harm(tmp_path: Path) -> None:
    odd = """for name in ("item/started", "item/completed", "error", "thread/tokenUsage/updated", "turn/started"):
    for params in (None, 3, [], {"item": 3}, {"item": {"type": 4}}, {"error": {"codexErrorInfo": [1]}},
            {"item": {"type": "fileChange", "changes": [1, {"kind": 2}]}}, {"tokenUsage": {"last": 1}},
            {"item": {"type": "commandExecution", "id": None, "exitCode": "x"}}):
        tell(method=name, params=params)
tell(id=[1], method="x") if False else None
tell(id="q", method="unknown/request", params={})
"""
    async with open_codex_rig(tmp_path) as rig:
        end, _ = await rig.turn(rig.driver(**fake(rig, odd + DONE)), "hello")
        assert isinstance(end, TurnDone)


@pytest.mark.parametrize("stream", ["known", "unknown", "stderr"])
async def test_a_flood_of_100_mb_grows_nothing_and_hangs_nothing(tmp_path: Path, stream: str) -> None:
    told = {
        "known": 'tell(method="item/agentMessage/delta", params={"itemId": "i", "delta": "x" * 10000})',
        "unknown": 'tell(method="unheard/of", params={"noise": "x" * 10000})',
        "stderr": 'sys.stderr.write("x" * 10000 + "\\n")',
    }[stream]
    flood = f"for _ in range(10000):\n    {told}\n{DONE}"
    async with open_codex_rig(tmp_path) as rig:
        sink = _Forgetful()
        before = psutil.Process().memory_info().rss
        end, _ = await rig.turn(rig.driver(**fake(rig, flood)), "hello", sink)
        grown = psutil.Process().memory_info().rss - before
        assert isinstance(end, TurnDone)
        assert sink.characters == (100_000_000 if stream == "known" else 0)
        assert grown < (160_000_000 if stream == "known" else 40_000_000)


class _Forgetful(CodexSink):
    """Counts the text and keeps nothing."""

    characters = 0

    def _note(self, event: object) -> None:
        self.characters += len(event.text) if isinstance(event, TextPiece) else 0


async def test_a_command_that_floods_is_bounded_by_the_program(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(shell("yes | head -c 100000000")))
        end, _ = await rig.turn(rig.driver(permission_mode="never"), "flood", deciding("allow"))
        assert isinstance(end, TurnDone)
        blobs = list((rig.home / "blobs").iterdir())
        assert [blob.stat().st_size <= 2 * 1024 * 1024 for blob in blobs] == [True]


async def test_no_secret_in_the_arguments(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        await rig.turn(rig.driver(), "hello")
        words = [word for process in rig.programs() for word in process.cmdline()]
        assert words
        assert not any("standin-key" in word for word in words)
