"""The real Claude Code program in a stranger's repository: nothing of it runs before a person says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from bridgehub.protocol.events import TurnDone
from bridgehub.protocol.messages import Decided
from bridgehub.protocol.requests import TRUST
from tests.standin.anthropic import StandIn, open_standin
from tests.standin.rig import SDK_DROPS_GENERATORS, Asked, ClaudeRig, RecordingSink, open_rig
from tests.support.hostile import Hostile, make_hostile

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)

RUNS_ALWAYS = {
    "claude-SessionStart",
    "claude-UserPromptSubmit",
    "claude-Stop",
    "claude-local",
    "claude-server",
}


@attrs.define(eq=False)
class Place:
    """A rig whose workspace is hostile, and the service that it wants to be called."""

    rig: ClaudeRig
    evil: StandIn
    hostile: Hostile

    @property
    def is_untouched(self) -> bool:
        """Whether nothing ran and nobody was called."""
        return not self.hostile.ran and not self.evil.requests and not self.evil.other_calls

    def asked_of(self, sink: RecordingSink) -> list[Asked]:
        return [asked for asked in sink.of(Asked) if asked.tool == TRUST]


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Place]:
    async with open_rig(folder) as rig, open_standin() as evil:
        yield Place(rig, evil, make_hostile(rig.workspace, folder / "sprung", evil.url))


def deciding(decision: Any) -> RecordingSink:
    """Return a sink that answers by that if it is asked for trust, and by no else."""
    return RecordingSink(decide=lambda asked: Decided("r", decision if asked.tool == TRUST else "deny"))


async def test_nothing_runs_before_a_word_and_none_after_a_no(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        driver, waiting = it.rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run_turn, it.rig.prompt("hello"), waiting)
            await waiting.until(lambda sink: bool(sink.of(Asked)))
            assert it.is_untouched
            assert not it.rig.standin.requests
            await driver.interrupt()
        assert waiting.withdrawn == 1
        assert it.is_untouched

        end, sink = await it.rig.turn(driver, f"bash {it.hostile.command('asked')}", deciding("deny"))
        assert isinstance(end, TurnDone)
        (asked,) = it.asked_of(sink)
        assert asked.tool_input["folder"] == str(it.rig.workspace)
        assert {run["name"] for run in asked.tool_input["runs"]} >= {"SessionStart", "apiKeyHelper", "evil"}
        assert any(each.tool == "Bash" for each in sink.of(Asked)), "the folder's rules allow nothing"
        assert it.rig.standin.requests[-1].markers == ("MARKER-CLAUDE",), "instructions always count"
        await driver.aclose()
        assert it.is_untouched


async def test_after_a_yes_it_runs_until_the_files_change(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        store = str(tmp_path / "trust")
        own = {"own_env": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"), "trust_store": store}
        script = it.rig.workspace / "hook.sh"
        script.write_text(f"{it.hostile.command('script-1')}\n")
        hook = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "sh hook.sh"}]}]}}
        (it.rig.workspace / ".claude" / "settings.local.json").write_text(json.dumps(hook))
        end, sink = await it.rig.turn(it.rig.driver(**own), "hello", deciding("allow"))
        assert isinstance(end, TurnDone)
        assert len(it.asked_of(sink)) == 1
        assert it.hostile.ran >= (RUNS_ALWAYS - {"claude-local"}) | {"script-1", "apiKeyHelper"}
        assert not it.evil.requests, "the operator's address goes first"
        assert len(it.rig.standin.requests) == 1

        # Another hub, of another session, asks nobody; so does the same one.
        driver = it.rig.driver(**own, agent_session_id="b1f7c3de-0000-4000-8000-000000000001")
        for _ in range(2):
            _, sink = await it.rig.turn(driver, "hello", RecordingSink())
            assert not sink.of(Asked)

        script.write_text(f"{it.hostile.command('script-2')}\n")
        _, sink = await it.rig.turn(driver, "hello", deciding("deny"))
        assert len(it.asked_of(sink)) == 1
        await driver.aclose()
        assert "script-2" not in it.hostile.ran


async def test_files_changed_while_a_person_looks_ask_again(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        answers = ["allow", "deny"]

        def decide(asked: Asked) -> Decided:
            (it.rig.workspace / ".mcp.json").write_text('{"mcpServers": {"late": {"command": "x"}}}')
            return Decided("r", answers.pop(0))  # type: ignore[arg-type]

        end, sink = await it.rig.turn(it.rig.driver(), "hello", RecordingSink(decide=decide))
        assert isinstance(end, TurnDone)
        assert [
            any(run["name"] == "late" for run in one.tool_input["runs"]) for one in it.asked_of(sink)
        ] == [
            False,
            True,
        ]
        assert it.is_untouched


@pytest.mark.parametrize("way", ["record", "config"])
async def test_who_trusts_already_is_not_asked(tmp_path: Path, way: str) -> None:
    async with open_place(tmp_path) as it:
        folder = str(it.rig.workspace)
        if way == "record":
            record = {"projects": {folder: {"hasTrustDialogAccepted": True}}}
            (it.rig.home / ".claude.json").write_text(json.dumps(record))
        named = (str(tmp_path),) if way == "config" else ()
        _, sink = await it.rig.turn(it.rig.driver(trusted_folders=named), "hello", RecordingSink())
        assert not sink.of(Asked)
        assert it.hostile.ran >= RUNS_ALWAYS


async def test_changed_instructions_count_without_trust(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        driver, sink = it.rig.driver(), deciding("deny")
        await it.rig.turn(driver, "one", sink)
        (it.rig.workspace / "CLAUDE.md").write_text("MARKER-LATER\n")
        await it.rig.turn(driver, "two", sink)
        assert "MARKER-LATER" in str(it.rig.standin.requests[-1].body["system"])
        assert it.rig.standin.requests[-1].user_texts[-2:] == ("one", "two")
        shutil.rmtree(it.rig.workspace / ".claude")
        (it.rig.workspace / ".mcp.json").unlink()
        asked = len(it.asked_of(sink))
        await it.rig.turn(driver, "three", sink)
        assert len(it.asked_of(sink)) == asked, "nothing is left that runs"
        assert "MARKER" not in str(it.rig.standin.requests[-1].body["system"]), (
            "the program reads them itself"
        )
        assert it.is_untouched
