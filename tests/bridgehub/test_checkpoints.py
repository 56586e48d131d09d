"""A hub makes its checkpoints smaller after a turn, and nobody waits for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridgehub.protocol.events import Checkpointed, Noticed, TurnDone
from tests.bridgehub.hub_harness import open_hub, until


async def test_many_small_files_become_one_after_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridgehub.workspace.prune.LOOSE", 0)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.txt").write_text("a\n")
    (tmp_path / "hub").mkdir()
    stores = tmp_path / "data" / "checkpoints"
    async with open_hub(
        tmp_path / "hub", workspace=str(tmp_path / "w"), checkpoint_folder=str(stores)
    ) as hub:
        reader = await hub.reader()
        events = await reader.turn("t1", "hello")
        while not any(
            isinstance(one.event, Checkpointed) and one.event.position == "after" for one in events
        ):
            events += await reader.read()
        await until(lambda: bool(list(stores.glob("*/objects/pack/*.pack"))))
        await until(lambda: bool(list(stores.glob("*/packed-refs"))))
        assert await reader.turn("t2", "again")


async def test_a_turn_goes_through_though_nothing_can_be_saved(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "hub").mkdir()
    (tmp_path / "data").mkdir()
    stores = tmp_path / "data" / "checkpoints"
    stores.write_text("a file is in the way\n")
    async with open_hub(
        tmp_path / "hub", workspace=str(tmp_path / "w"), checkpoint_folder=str(stores)
    ) as hub:
        reader = await hub.reader()
        events = await reader.turn("t1", "hello")
        assert any(isinstance(one.event, TurnDone) for one in events)
        while not any(isinstance(one.event, Noticed) for one in events):
            events += await reader.read()
        assert [one.event.code for one in events if isinstance(one.event, Noticed)] == ["no_checkpoint"]
        again = await reader.turn("t2", "again")
        assert any(isinstance(one.event, TurnDone) for one in again)
