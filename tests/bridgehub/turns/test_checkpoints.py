"""A hub makes its checkpoints smaller after a turn, and nobody waits for that."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from bridgehub.outbox import Outbox
from bridgehub.protocol.events import Checkpointed, Noticed, TurnDone
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import WarmUp
from bridgehub.spool import Spool
from bridgehub.turns.checkpoints import Checkpoints
from bridgehub.workspace.store import CheckpointStore
from tests.bridgehub.hub_harness import make_spec, open_hub, prompt, until
from tests.bridgehub.workspace.calls import COMMANDS, counting


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


async def test_a_look_beforehand_spares_the_message_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridgehub.workspace.glance.SETTLED_NS", 0)
    monkeypatch.setattr("bridgehub.turns.checkpoints.LOOK_S", 60.0)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.txt").write_text("a\n")
    (tmp_path / "hub").mkdir()
    stores = str(tmp_path / "data" / "checkpoints")
    looked = trio.Event()
    look = Checkpoints.look

    async def look_and_say(saving: Checkpoints) -> None:
        await look(saving)
        looked.set()

    monkeypatch.setattr(Checkpoints, "look", look_and_say)
    async with open_hub(tmp_path / "hub", workspace=str(tmp_path / "w"), checkpoint_folder=stores) as hub:
        reader = await hub.reader()
        with counting() as calls, trio.fail_after(20):
            await reader.link.send(WarmUp(0, Setup()))
            await looked.wait()
        assert "ls-files" in calls
        assert CheckpointStore.of(stores, str(tmp_path / "w")).names("trip") == set()
        with counting() as calls:
            events = await reader.turn("t1", "hello")
            while not any(isinstance(one.event, Checkpointed) for one in events):
                events += await reader.read()
        assert not COMMANDS & {*calls}, "what packs after the turn is another matter"
        assert not any(isinstance(one.event, Noticed) for one in events)


async def test_no_look_beforehand_if_the_message_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Checkpoints] = []

    async def look(saving: Checkpoints) -> None:
        await trio.lowlevel.checkpoint()
        looks.append(saving)

    monkeypatch.setattr(Checkpoints, "look", look)
    async with open_hub(tmp_path) as hub:
        reader = await hub.reader()
        hub.hub.turns.warm_up_nowait(WarmUp(0, Setup()))
        hub.hub.turns.prompt_nowait(prompt("t1", "hello"))
        await reader.read_until(TurnDone)
        assert not looks
        hub.hub.turns.warm_up_nowait(WarmUp(0, Setup()))
        await until(lambda: bool(looks))


async def test_a_look_beforehand_waits_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").mkdir()
    stores = str(tmp_path / "data" / "checkpoints")
    spec = make_spec(tmp_path, workspace=str(tmp_path / "w"), checkpoint_folder=stores)
    saving = Checkpoints(spec, Outbox(Spool(tmp_path / "spool")), lambda: "c1")

    def fail(seconds: float) -> None:
        raise AssertionError("it waits for the folder")

    with CheckpointStore.of(stores, spec.workspace).locked(0):
        monkeypatch.setattr("bridgehub.workspace.store.time.sleep", fail)
        await saving.look()
    assert saving.outbox.head_seq == 0, "what fails here is not reported"


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


async def test_a_prompt_waits_for_the_state_and_not_for_its_keeping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an agent whose tools cannot be held, the prompt waits; git's last two calls need not be over."""
    may_keep = threading.Event()
    keep = CheckpointStore.keep

    def keep_once_told(*arguments: Any, **more: Any) -> None:
        assert may_keep.wait(30)
        keep(*arguments, **more)

    monkeypatch.setattr(CheckpointStore, "keep", keep_once_told)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.txt").write_text("a\n")
    stores = str(tmp_path / "data" / "checkpoints")
    spec = make_spec(tmp_path, workspace=str(tmp_path / "w"), kind="codex", checkpoint_folder=stores)
    names = iter(("c1", "c2"))
    saving = Checkpoints(spec, Outbox(Spool(tmp_path / "spool")), lambda: next(names))
    monkeypatch.setattr("bridgehub.turns.checkpoints.PROMPT_WAIT_S", 30.0)
    async with trio.open_nursery() as nursery:
        saving.begin("t1", nursery)
        with trio.fail_after(20):
            await saving.wait_saved()
        assert saving.outbox.head_seq == 0, "it is reported once it is kept"
        (tmp_path / "w" / "a.txt").write_text("b\n")
        may_keep.set()
        await saving.after(nursery)
    store = CheckpointStore.of(spec.checkpoint_folder, spec.workspace)
    trees = [store.find("trip", name).tree for name in ("c1", "c2")]
    assert [store.git("cat-file", "blob", f"{tree}:a.txt") for tree in trees] == [b"a\n", b"b\n"]
