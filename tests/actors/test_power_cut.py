"""The power fails at any write and any sync: what was promised is there, and nothing runs twice.

Real actors over the real storage, on a disk that keeps what was not synced apart; hubs are scripted. A cut is what
the machine would find when it starts again. Promised are: an accepted message, a hand-over and a decision that a
hub saw, a finished turn, and in an epoch that continues every event that anybody could have seen.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
import trio

from actors.commands import Decide, Send
from actors.events.codec import decode_row, encode_settings
from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import Delivery, UserMessage
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import Settings
from actors.replies import Accepted
from actors.supervisor import Supervisor
from bridgehub.protocol import messages as hub
from bridgehub.protocol.hub_spec import HubSpec
from builderos.commands.verify import verify
from storage.records import NewSession
from storage.sqlite import checkpoint, commit_mark
from storage.sqlite.commit_mark import MARK_NAME
from storage.store import Store, open_store
from tests.actors.harness import Harness, act, ask, open_server
from tests.fakes.scripted_hubs import (
    Ask,
    Done,
    Fail,
    Hang,
    Say,
    ScriptedHub,
    ScriptedHubs,
    Slow,
    open_scripted_hubs,
)
from tests.storage.power import Cut, failing_power

SESSIONS = ("a", "b", "c")
LIMIT_S = 60.0

Kind = Literal["accepted", "handed", "decided", "finished", "seen"]


@attrs.frozen
class Promise:
    """What somebody has seen: of a session, a message or request, with its seq, or the hub that got it."""

    kind: Kind
    session_id: str
    about: str
    seq: int = 0
    spec: HubSpec | None = None


@attrs.define(eq=False)
class Witness:
    """Keeps every promise in the order in which it was made. Only ever grows: a cut needs no more than its length."""

    promises: list[Promise] = attrs.field(factory=list)

    def hear(
        self, kind: Kind, session_id: str, about: str, seq: int = 0, spec: HubSpec | None = None
    ) -> None:
        self.promises.append(Promise(kind, session_id, about, seq, spec))

    def hubs_hear(self, hubs: ScriptedHubs) -> None:
        """Note what hubs got since the last time."""
        known = {(one.kind, one.session_id, one.about) for one in self.promises}
        for one in hubs.hubs.values():
            session_id = one.spec.session_id
            for told in one.told:
                if isinstance(told, hub.Prompt) and ("handed", session_id, told.content) not in known:
                    self.hear("handed", session_id, told.content, spec=one.spec)
                elif isinstance(told, hub.Decided) and ("decided", session_id, told.request_id) not in known:
                    self.hear("decided", session_id, told.request_id)


async def items_of(store: Store, session_id: str) -> list[Committed]:
    items: list[Committed] = []
    while rows := await store.journal.read(session_id, items[-1].seq if items else 0, 500):
        items += map(decode_row, rows)
    return items


def harness_over(store: Store, hubs: ScriptedHubs, ids: str) -> Harness:
    """Return a harness whose journal, ownership and catalog are the real ones."""
    harness = Harness(hubs)
    numbers = iter(range(1, 10**6))
    harness.deps = attrs.evolve(
        harness.deps,
        journal=store.journal,
        ownership=store.ownership,
        catalog=store.catalog,
        new_id=lambda: f"{ids}{next(numbers)}",
    )
    return harness


SCRIPTS: dict[str, list[Any]] = {
    # The pauses are for observers: what was seen and is not on the disk yet must show in the epoch.
    "talk": [
        Say("one "),
        Slow(0.005),
        Say("two "),
        Slow(0.005),
        Say("x" * 3000),
        Slow(0.005),
        Say("z"),
        Done(),
    ],
    "ask": [Say("may I? "), Ask("p"), Done()],
    "fail": [Say("oh"), Fail()],
    "hang": [Say("begun "), Hang()],
}


async def live(
    session_id: str, server: Supervisor, store: Store, hubs: ScriptedHubs, witness: Witness
) -> None:
    """Be a person in one session: send, decide, and note what is promised, until the hanging turn."""
    for number, verb in enumerate(("talk", "ask", "talk", "fail", "talk", "ask", "hang", "talk")):
        words = f"{verb} {session_id}{number}"
        request_id = f"p-{session_id}{number}"
        script = SCRIPTS[verb]
        hubs.scripts[words] = [Ask(request_id) if isinstance(one, Ask) else one for one in script]
        reply = await ask(server, Send(words, words), session_id=session_id)
        assert isinstance(reply, Accepted)
        witness.hear("accepted", session_id, words, reply.seq)
        if verb == "hang":
            continue
        if number == 7:
            return
        await follow(session_id, server, store, hubs, witness)


async def follow(
    session_id: str, server: Supervisor, store: Store, hubs: ScriptedHubs, witness: Witness
) -> None:
    """Look on until the turn is over; answer what it asks."""
    answered: set[str] = set()
    with trio.fail_after(LIMIT_S):
        while True:
            items = await items_of(store, session_id)
            witness.hear("seen", session_id, "", items[-1].seq)
            witness.hubs_hear(hubs)
            last = items[-1].event
            if last.kind in TURN_ENDS:
                witness.hear("finished", session_id, last.kind, items[-1].seq)
                return
            if isinstance(last, PermissionRequested) and last.request_id not in answered:
                answered.add(last.request_id)
                await act(server, Decide(last.request_id, "allow"), session_id=session_id)
            await trio.sleep(0.001)


@asynccontextmanager
async def opened(path: Path, boot_id: str, vfs: str | None = None) -> AsyncIterator[Store]:
    async with open_store(path, boot_id=boot_id, vfs=vfs) as store:
        yield store


async def cuts_of(folder: Path, seed: int, most: int) -> tuple[list[Cut], Witness]:
    """Run three sessions, and return what the machine would find after each of so many cuts."""
    witness, dice = Witness(), random.Random(seed)
    with failing_power(dice, lambda: len(witness.promises), most=most) as power:
        path = folder / "builderos.db"
        async with opened(path, "first", power.name) as store, open_scripted_hubs() as hubs:
            power.cuts.clear()
            for session_id in SESSIONS:
                new = NewSession(session_id, "echo", "phone", encode_settings(Settings("/w")), 0)
                await store.catalog.create(new)
            power.cuts.clear()  # from here on each session is there
            async with open_server(harness_over(store, hubs, "id")) as server, trio.open_nursery() as nursery:
                for session_id in SESSIONS:
                    nursery.start_soon(live, session_id, server, store, hubs, witness)
        assert power.syncs > 50
        return power.cuts[:], witness


async def check_cut(folder: Path, cut: Cut, witness: Witness) -> None:
    """Start the machine again, and hold what it finds against what was promised."""
    cut.write_to(folder)
    promises = witness.promises[: cut.known]
    async with opened(folder / "builderos.db", "second") as store:
        assert not [row for row in await store.audit.page(0) if row.act.act == "commits_lost"]
        for session_id in SESSIONS:
            own = [one for one in promises if one.session_id == session_id]
            items = await items_of(store, session_id)
            check_promises(own, items, (await store.journal.head(session_id)).epoch)
        async with open_scripted_hubs() as hubs:
            for one in promises:
                if one.spec is not None:  # its pid file is on the disk before a hub takes anything
                    hubs.hubs[one.spec.hub_id] = ScriptedHub(one.spec, alive=False)
            async with open_server(harness_over(store, hubs, "again")):
                with trio.fail_after(LIMIT_S):
                    while await store.catalog.unfinished():  # noqa: ASYNC110 - the database gives no event
                        await trio.sleep(0.001)
            handed = {one.about for one in promises if one.kind == "handed"}
            again = [words for one in hubs.hubs.values() for words in one.prompts]
            assert not handed & set(again), "handed over twice"
            assert len(again) == len(set(again))
    lines: list[str] = []
    assert await verify(folder, lines.append) == 0, "".join(lines)


def check_promises(promises: list[Promise], items: list[Committed], epoch: int) -> None:
    said = {item.event.message_id: item.seq for item in items if isinstance(item.event, UserMessage)}
    handed = {
        item.event.message_id
        for item in items
        if isinstance(item.event, Delivery) and item.event.state == "handed"
    }
    decided = {item.event.request_id for item in items if isinstance(item.event, PermissionResolved)}
    for one in promises:
        match one.kind:
            case "accepted":
                assert said.get(one.about) == one.seq, f"{one} is lost"
            case "handed":
                assert one.about in handed, f"{one} is lost"
            case "decided":
                assert one.about in decided, f"{one} is lost"
            case "finished":
                assert one.about in {item.event.kind for item in items if item.seq == one.seq}, (
                    f"{one} is lost"
                )
            case "seen":
                head = items[-1].seq if items else 0
                assert head >= one.seq or epoch > 1, f"{one} is lost, and the epoch does not tell"


@pytest.mark.parametrize("seed", range(4))
async def test_power_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_PAGES", 30)
    monkeypatch.setattr(checkpoint, "CATCH_UP_PAGES", 60)
    monkeypatch.setattr(commit_mark, "MARK_S", 0.0)
    (tmp_path / "run").mkdir()
    with trio.fail_after(LIMIT_S * 2):
        cuts, witness = await cuts_of(tmp_path / "run", seed, most=50)
        assert len(cuts) == 50
        assert any(MARK_NAME in cut.files for cut in cuts)
        for number, cut in enumerate(cuts):
            try:
                await check_cut(tmp_path / f"cut{number}", cut, witness)
            except BaseException as error:
                error.add_note(f"seed {seed}, cut {number}: what was not synced is {cut.rest}")
                raise
