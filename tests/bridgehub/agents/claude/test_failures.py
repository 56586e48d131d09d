"""The claude driver where something is missing or refused: installation, sign-in, the model service."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from bridgehub.protocol.events import BlockDropped, Consumed, Noticed, TextPiece, TurnDone, TurnFailed
from tests.standin.anthropic import default_reply, standin_env
from tests.standin.replies import Answer, Broken, Failure, Text
from tests.standin.requests import Seen
from tests.standin.rig import SDK_DROPS_GENERATORS, RecordingSink, open_rig

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)


async def test_not_signed_in_says_what_to_do(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        del driver.spec.env["ANTHROPIC_API_KEY"]
        end, sink = await rig.turn(driver, "hello")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.retryable) == ("not_signed_in", False)
        assert "`claude`" in end.content
        assert "/login" in end.content
        assert not sink.of(TextPiece)
        assert rig.standin.requests == []


async def test_errors_of_the_service_end_the_turn_only(tmp_path: Path) -> None:
    """One program for all of them: each is retried once at most, after about 0.6 s."""
    cases = [
        (Failure(401, "authentication_error", "bad key"), "not_signed_in", False),
        (Failure(403, "permission_error", "may not"), "model_error", False),
        (Failure(400, "invalid_request_error", "odd"), "model_error", False),
        (Failure(404, "not_found_error", "no such model"), "model_error", False),
        (Failure(429, "rate_limit_error", "slow down"), "model_error", True),
        (Failure(500, "api_error", "broken"), "model_error", True),
        (Failure(529, "overloaded_error", "busy"), "model_error", True),
    ]
    async with open_rig(tmp_path) as rig:
        driver = rig.driver(env={"CLAUDE_CODE_MAX_RETRIES": "1"})
        for failure, code, retryable in cases:
            rig.standin.fallback = partial(_always, failure)
            end, sink = await rig.turn(driver, "hello")
            assert isinstance(end, TurnFailed), failure
            assert (end.code, end.retryable) == (code, retryable), failure
            assert isinstance(sink.events[0], Consumed)
            # The program reports the error as an assistant's message too: that is not an answer.
            assert not sink.of(TextPiece), failure
            retried = failure.status in {401, 429, 500, 529}
            notices = sink.of(Noticed)
            assert [notice.code for notice in notices] == ["agent_retry"] * retried, failure
            assert all(notice.attempt == 1 and (notice.retry_in_s or 0) > 0 for notice in notices)
        rig.standin.fallback = default_reply
        end, _ = await rig.turn(driver, "hello")
        assert isinstance(end, TurnDone)


def _always(failure: Failure, seen: Seen) -> Failure:
    return failure


async def test_a_retry_that_succeeds_is_a_good_turn(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Failure(529, "overloaded_error", "busy", retry_after_s=0.0))
        end, sink = await rig.turn(rig.driver(), "hello")
        assert isinstance(end, TurnDone)
        assert [notice.code for notice in sink.of(Noticed)] == ["agent_retry"]
        assert "last: hello" in sink.text()


async def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver(env={"CLAUDE_CODE_MAX_RETRIES": "0", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"})
        end, _ = await rig.turn(driver, "hello")
        assert isinstance(end, TurnFailed)
        assert end.code == "model_error"


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"options": {"cli_path": "/nowhere/claude"}}, "not_installed", "/nowhere/claude"),
        ({"workspace": "/nowhere/at/all"}, "agent_exited", "/nowhere/at/all"),
        ({"permission_mode": "nonsense"}, "agent_exited", "nonsense"),
        ({"options": {"cli_path": "/bin/false"}}, "agent_exited", "Claude Code ended"),
    ],
)
async def test_a_program_that_does_not_come_up(
    tmp_path: Path, changes: dict[str, object], code: str, told: str
) -> None:
    async with open_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(**changes), "hello")
        assert isinstance(end, TurnFailed)
        assert end.code == code
        assert told in end.content
        assert sink.events == []


async def test_a_file_that_is_not_executable_is_named(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        program = tmp_path / "claude"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o644)
        end, _ = await rig.turn(rig.driver(options={"cli_path": str(program)}), "hello")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.retryable) == ("not_installed", False)
        assert f"{program}: the file is not executable" in end.content


async def test_without_the_sdk_the_turn_says_how_to_install_it(tmp_path: Path) -> None:
    """In a process of its own, where importing the SDK fails as if it were not there."""
    code = """
import sys, trio
sys.modules["claude_agent_sdk"] = None
from bridgehub.agents.claude.driver import make_driver
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Prompt
spec = HubSpec("h", "s", "claude", "claude", "", "", "/", {}, {}, "00000000-0000-4000-8000-000000000000")
driver = make_driver(spec)
end = trio.run(driver.run_turn, Prompt("t", "m", "hello", 0), None)
print(end.code, end.content)
trio.run(driver.aclose)
"""
    with trio.fail_after(40):
        done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    assert done.stdout.startswith(b"not_installed")
    assert b"make install" in done.stdout


async def test_making_a_driver_loads_no_sdk() -> None:
    code = (
        "import sys; import bridgehub.agents.claude; "
        "print([name for name in sys.modules if name.startswith(('claude_agent_sdk', 'anyio', 'mcp'))])"
    )
    with trio.fail_after(40):
        done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    assert done.stdout == b"[]\n"


def test_the_environment_leads_to_loopback_only() -> None:
    env = standin_env("http://127.0.0.1:1", "/home")
    assert env["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
    assert env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert RecordingSink().events == []


async def test_an_answer_that_breaks_off_is_begun_again_in_a_new_block(tmp_path: Path) -> None:
    """The first is taken back, and a notice says why; also if the program asks again without a word."""
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        for number, told in ((1, ""), (3, "overloaded_error")):
            gate, sink = trio.Event(), RecordingSink()
            rig.standin.script(
                Broken(Answer.of(Text.of("half an ", gate)), told), Answer.of("the whole answer")
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.turn, driver, "hello", sink)
                await sink.until(lambda seen: seen.text() == "half an ")
                gate.set()
            heard = [event for event in sink.events if isinstance(event, TextPiece | Noticed | BlockDropped)]
            assert [type(event) for event in heard] == [TextPiece, Noticed, BlockDropped, TextPiece]
            assert getattr(heard[1], "code", "") == "agent_retry"
            assert heard[2] == BlockDropped(f"turn-{rig.turns}", "text", f"msg_standin_{number}:0")
            assert getattr(heard[3], "text", "") == "the whole answer"


async def test_a_prompt_that_a_hook_refuses_ends_with_the_reason(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        hook = {"type": "command", "command": "echo no such words here >&2; exit 2"}
        settings = rig.home / ".claude" / "settings.json"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(json.dumps({"hooks": {"UserPromptSubmit": [{"hooks": [hook]}]}}))
        end, sink = await rig.turn(rig.driver(), "hello")
        assert isinstance(end, TurnDone)
        (notice,) = sink.of(Noticed)
        assert notice.code == "agent_says"
        assert "no such words here" in notice.content
        assert rig.standin.requests == []


async def test_a_compaction_that_fails_is_an_error_and_no_answer(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        await rig.turn(driver, "hello")
        rig.standin.fallback = lambda seen: Failure(400, "invalid_request_error", "no room for that")
        end, sink = await rig.turn(driver, "/compact")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.retryable, end.ways) == ("model_error", True, ("renew", "fork"))
        assert "no room for that" in end.content
        assert sink.text() == ""
