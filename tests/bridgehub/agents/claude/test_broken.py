"""The claude driver and a program that is killed in any state, floods, hangs or talks nonsense.

Killed is the real program. For the rest a program that lies speaks the protocol up to the prompt. Each is one
clear error, leaves nothing behind, and the next turn works.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import claude_agent_sdk
import psutil
import pytest
import trio

from bridgehub.agents.claude import start
from bridgehub.agents.claude.driver import ClaudeDriver
from bridgehub.protocol.events import Consumed, TextPiece, ToolBegan, TurnDone, TurnFailed
from tests.standin.replies import Answer, Hang, Reply, Text, ToolUse
from tests.standin.rig import (
    SDK_DROPS_GENERATORS,
    Asked,
    ClaudeRig,
    RecordingSink,
    eventually,
    open_rig,
    program_pids,
    stopped_at_its_start,
)

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)

REPLIES: dict[str, Reply] = {
    "thinking": Hang(),
    "streaming": Answer.of(Text.of("half ", trio.Event())),
    "command": Answer.of(ToolUse("Bash", {"command": "sleep 987", "description": "x"})),
    "question": Answer.of(ToolUse("Bash", {"command": "touch made", "description": "x"})),
}

REACHED: dict[str, Callable[[RecordingSink], bool]] = {
    "thinking": lambda seen: bool(seen.of(Consumed)),
    "streaming": lambda seen: bool(seen.of(TextPiece)),
    "command": lambda seen: bool(seen.of(ToolBegan)),
    "question": lambda seen: bool(seen.of(Asked)),
}


@pytest.mark.parametrize("state", ["starting", "unread", *REPLIES])
async def test_killed_in_any_state_the_next_turn_works(tmp_path: Path, state: str) -> None:
    """`unread`: the prompt is written, the program has not looked at it."""
    async with open_rig(tmp_path) as rig:
        mode = "bypassPermissions" if state == "command" else None
        driver, sink, ends = rig.driver(permission_mode=mode), RecordingSink(), list[object]()
        if state == "starting":
            bundled = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
            driver.spec = rig.spec(options=stopped_at_its_start(bundled, tmp_path))
        if state != "starting":
            await rig.turn(driver, "first")
        if state == "unread":
            [pid] = program_pids(rig.agent_session_id)
            os.kill(pid, signal.SIGSTOP)
        if state in REPLIES:
            rig.standin.script(REPLIES[state])
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def run() -> None:
                ends.append((await rig.turn(driver, "doomed", sink))[0])

            await _reach(rig, driver, sink, state)
            for pid in program_pids(rig.agent_session_id):
                os.kill(pid, signal.SIGKILL)
        [end] = ends
        assert isinstance(end, TurnFailed)
        assert (end.code, end.retryable) == ("agent_exited", True)
        assert "Claude Code ended" in end.content
        assert bool(sink.of(Consumed)) is (state in REPLIES)
        assert program_pids(rig.agent_session_id) == []
        rig.standin.forget_script()
        driver.spec = rig.spec()
        end, _ = await rig.turn(driver, "after")
        assert isinstance(end, TurnDone)
        assert rig.standin.requests[-1].user_texts[-1] == "after"


async def _reach(rig: ClaudeRig, driver: ClaudeDriver, sink: RecordingSink, state: str) -> None:
    if state in REACHED:
        await sink.until(REACHED[state])
    elif state == "unread":
        # Not the first turn's, which was sent long ago.
        await eventually(
            lambda: bool((session := driver._session) and session.is_in_turn and session._sent.is_set())
        )
    else:
        await eventually(lambda: bool(program_pids(rig.agent_session_id)))


LIAR = """#!{python}
import json, sys
def tell(**message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()
def piece(text):
    event = {{"type": "content_block_delta", "index": 0, "delta": {{"type": "text_delta", "text": text}}}}
    tell(type="stream_event", uuid="u", session_id="s", event=event)
def done():
    tell(type="result", subtype="success", duration_ms=1, duration_api_ms=1, is_error=False, num_turns=1,
        session_id="s", result="")
def on_prompt():
{body}
for line in sys.stdin:
    asked = json.loads(line)
    if asked["type"] == "control_request":
        {initialize}
        answer = {{"subtype": "success", "request_id": asked["request_id"], "response": {{}}}}
        tell(type="control_response", response=answer)
    elif asked["type"] == "user":
        on_prompt()
"""


def liar(rig: ClaudeRig, on_prompt: str, initialize: str = "pass") -> ClaudeDriver:
    """Make a program that speaks the protocol up to the prompt, and a driver of it."""
    program = rig.home / "liar"
    body = "".join(f"    {line}\n" for line in on_prompt.splitlines())
    program.write_text(LIAR.format(python=sys.executable, body=body, initialize=initialize))
    program.chmod(0o755)
    return rig.driver(options={"cli_path": str(program)})


def liars(rig: ClaudeRig) -> list[psutil.Process]:
    """Return the lying programs that run."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if one.status() != psutil.STATUS_ZOMBIE and _is_liar(rig, one)]


def _is_liar(rig: ClaudeRig, process: psutil.Process) -> bool:
    try:
        return str(rig.home / "liar") in process.cmdline()
    except (psutil.Error, OSError):
        return False


@pytest.mark.parametrize(
    ("on_prompt", "code", "told"),
    [
        ('tell(type="result")', "agent_protocol", "cannot read"),
        ('print("{no json", flush=True)', "agent_protocol", "cannot read"),
        ('print("{" + "x" * 20000, flush=True)', "agent_protocol", "cannot read"),
        ('print("no json"); sys.exit(0)', "agent_exited", "exit status 0"),
        (
            'sys.stderr.write("last words"); sys.exit(7)',
            "agent_exited",
            "exit status 7. Its last output:\nlast w",
        ),
    ],
)
async def test_garbage_and_exits_end_the_turn_only(
    tmp_path: Path, on_prompt: str, code: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig(tmp_path) as rig:
        driver = liar(rig, on_prompt)
        with monkeypatch.context() as patch:
            patch.setattr(start, "MAX_MESSAGE_BYTES", 10_000)
            end, _ = await rig.turn(driver, "hello")
        assert isinstance(end, TurnFailed)
        assert end.code == code
        assert told in end.content
        assert liars(rig) == []
        driver.spec = rig.spec()
        end, _ = await rig.turn(driver, "again")
        assert isinstance(end, TurnDone)


async def test_garbage_at_the_start_ends_the_turn_too(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = liar(rig, "pass", initialize='print("{no json", flush=True)')
        end, sink = await rig.turn(driver, "hello")
        assert isinstance(end, TurnFailed)
        assert (end.code, sink.events, liars(rig)) == ("agent_protocol", [], [])


async def test_a_program_that_hangs_at_its_start_is_given_up(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = liar(rig, "pass", initialize="sys.stdin.read()")
        driver.spec = attrs.evolve(driver.spec, start_s=0.5)
        end, sink = await rig.turn(driver, "hello")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.content) == ("agent_exited", "Claude Code did not start within 0.5 s.")
        assert sink.events == []
        assert liars(rig) == []


class _Forgetful(RecordingSink):
    """Counts the text and keeps nothing."""

    characters = 0

    def _note(self, event: object) -> None:
        self.characters += len(event.text) if isinstance(event, TextPiece) else 0


@pytest.mark.parametrize("stream", ["known", "unknown", "stderr"])
async def test_a_flood_of_100_mb_grows_nothing_and_hangs_nothing(tmp_path: Path, stream: str) -> None:
    told = {
        "known": 'piece("x" * 10000)',
        "unknown": 'tell(type="unheard_of", noise="x" * 10000)',
        "stderr": 'sys.stderr.write("x" * 10000 + "\\n")',
    }[stream]
    async with open_rig(tmp_path) as rig:
        driver, sink = liar(rig, f"for _ in range(10000):\n    {told}\ndone()"), _Forgetful()
        before = psutil.Process().memory_info().rss
        end, _ = await rig.turn(driver, "hello", sink)
        grown = psutil.Process().memory_info().rss - before
        assert isinstance(end, TurnDone)
        assert sink.characters == (100_000_000 if stream == "known" else 0)
        assert grown < 160_000_000
