"""The real Codex program in a stranger's repository: nothing of it runs before a person says so."""

from __future__ import annotations

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
from tests.standin.openai import OpenAIStandIn, open_openai
from tests.standin.openai_rig import CodexRig, CodexSink, open_codex_rig
from tests.standin.rig import Asked
from tests.support.hostile import Hostile, make_hostile


@attrs.define(eq=False)
class Place:
    """A rig whose workspace is hostile, and the service that it wants to be called."""

    rig: CodexRig
    evil: OpenAIStandIn
    hostile: Hostile

    @property
    def is_untouched(self) -> bool:
        """Whether nothing ran and nobody was called."""
        return not self.hostile.ran and not self.evil.requests and not self.evil.other_calls

    @property
    def config(self) -> str:
        """The person's own configuration."""
        return (self.rig.home / ".codex" / "config.toml").read_text()

    def asked_of(self, sink: CodexSink) -> list[Asked]:
        return [asked for asked in sink.asked if asked.tool == TRUST]


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Place]:
    async with open_codex_rig(folder) as rig, open_openai() as evil:
        yield Place(rig, evil, make_hostile(rig.workspace, folder / "sprung", evil.url))


def deciding(decision: Any) -> CodexSink:
    """Return a sink that answers by that if it is asked for trust, and by no else."""
    return CodexSink(decide=lambda asked: Decided("r", decision if asked.tool == TRUST else "deny"))


async def test_nothing_runs_before_a_word_and_none_after_a_no(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        driver, waiting = it.rig.driver(), CodexSink()
        config = it.config
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run_turn, it.rig.prompt("hello"), waiting)
            await waiting.until(lambda sink: bool(sink.of(Asked)))
            assert it.is_untouched
            assert not it.rig.programs()
            await driver.interrupt()
        assert it.is_untouched

        end, sink = await it.rig.turn(driver, f"bash {it.hostile.command('asked')}", deciding("deny"))
        assert isinstance(end, TurnDone)
        (asked,) = it.asked_of(sink)
        assert {run["name"] for run in asked.tool_input["runs"]} >= {"SessionStart", "evil", "HOSTILE"}
        assert "shell" in {each.tool for each in sink.asked}, "the folder's rules allow nothing"
        assert it.rig.standin.requests[-1].markers == ("MARKER-AGENTS",), "instructions always count"
        await driver.aclose()
        assert it.is_untouched
        assert it.config == config, "nothing is written into the person's own config"


async def test_after_a_yes_it_runs_until_the_files_change(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        store = str(tmp_path / "trust")
        env = {"HOSTILE": "the operator's"}
        options = {"approval": "never", "sandbox": "danger-full-access"}
        driver = it.rig.driver(trust_store=store, env=env, own_env=("HOSTILE",), options=options)
        config = it.config
        end, sink = await it.rig.turn(driver, "bash echo HOSTILE=$HOSTILE", deciding("allow"))
        assert isinstance(end, TurnDone)
        assert len(it.asked_of(sink)) == 1
        assert it.hostile.ran == {"codex-server"}
        assert "HOSTILE=the operator's" in sink.text(), "the operator's variable goes first"
        assert not it.evil.requests
        assert it.rig.standin.requests[-1].markers == ("MARKER-AGENTS",)
        assert it.config == config, "nothing is written into the person's own config"

        other = it.rig.driver(trust_store=store)
        _, sink = await it.rig.turn(other, "hello", CodexSink())
        assert not sink.asked

        (it.rig.workspace / ".codex" / "rules" / "default.rules").write_text("")
        for one in (driver, other):
            _, sink = await it.rig.turn(one, "hello", deciding("deny"))
            assert len(it.asked_of(sink)) == 1


@pytest.mark.parametrize("way", ["record", "config"])
async def test_who_trusts_already_is_not_asked(tmp_path: Path, way: str) -> None:
    async with open_place(tmp_path) as it:
        more = f'[projects."{it.rig.workspace}"]\ntrust_level = "trusted"\n' if way == "record" else ""
        named = (str(tmp_path),) if way == "config" else ()
        _, sink = await it.rig.turn(it.rig.driver(more=more, trusted_folders=named), "hello", CodexSink())
        assert not sink.asked
        assert it.hostile.ran == {"codex-server"}


async def test_changed_instructions_count_without_trust(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        driver, sink = it.rig.driver(), deciding("deny")
        (it.rig.home / ".codex" / "AGENTS.md").write_text("MARKER-MINE\n")
        await it.rig.turn(driver, "one", sink)
        assert set(it.rig.standin.requests[-1].markers) == {"MARKER-MINE", "MARKER-AGENTS"}
        (it.rig.workspace / "AGENTS.md").write_text("MARKER-LATER\n")
        await it.rig.turn(driver, "two", sink)
        assert {"MARKER-MINE", "MARKER-LATER"} <= set(it.rig.standin.requests[-1].markers)
        assert (it.rig.standin.requests[-1].user_texts[0], it.rig.standin.requests[-1].user_texts[-1]) == (
            "one",
            "two",
        )
        assert it.is_untouched


async def test_a_folder_below_the_projects_root_counts_with_the_root(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        below = it.rig.workspace / "a" / "b"
        below.mkdir(parents=True)
        for decision, ran in (("deny", set()), ("allow", {"codex-server"})):
            driver = it.rig.driver(workspace=str(below))
            config = it.config
            _, sink = await it.rig.turn(driver, "hello", deciding(decision))
            (asked,) = it.asked_of(sink)
            assert "../../.codex/config.toml" in {run["from"] for run in asked.tool_input["runs"]}
            assert it.hostile.ran == ran
            assert it.config == config
