"""An answer that its service broke off and began again: what the block had is reported as taken back and counts nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import attrs
from trio.testing import MockClock

from actors.commands import Send
from actors.events.codec import decode_row, encode_entry, encode_settings
from actors.events.committed import Committed, Event
from actors.events.conversation import BlockDropped, Complete, Message, TurnStarted, UserMessage
from actors.events.history import read_history
from actors.events.invariants import violations
from actors.events.session import Settings
from actors.fork import Forking
from bridgehub.protocol import events as hub
from bridgehub.protocol.messages import PastMessage
from storage.records import Entry, Grant, NewSession
from tests.actors.core import Core
from tests.fakes.memory_store import MemoryStore
from transport.transcript import Answers


def broken_core() -> Core:
    """Return a turn whose first block was broken off."""
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    turn = core.turn_id
    core.hear(hub.TextPiece(turn, "text", "a", "half an "), hub.TextPiece(turn, "thinking", "h", "hm"))
    assert core.hear(hub.BlockDropped(turn, "text", "a")) == ["message", "block_dropped"]
    return core


def test_the_block_leaves_the_answer_also_after_a_reload() -> None:
    for reloads in (False, True):
        core = broken_core()
        turn = core.turn_id
        if reloads:
            core.reload()
        core.hear(hub.TextPiece(turn, "text", "b", "the whole"))
        step = core.step(core.reported(hub.TurnDone(turn)))
        searched = [fold.entry.search_text for fold in step.folds]
        assert searched == [None, "the whole"]
        core.commit(step)
        end = step.events[-1].event
        assert isinstance(end, Complete)
        assert (end.text_length, end.text_sha256) == (9, sha256(b"the whole").hexdigest())
        items = [decode_row(row) for row in core.rows]
        assert violations(items) == []
        answers = Answers([turn])
        answers.add(items)
        assert answers.by_turn[turn].content == "the whole"


def test_nothing_is_taken_back_that_was_never_told() -> None:
    core = broken_core()
    assert core.hear(hub.BlockDropped(core.turn_id, "text", "a")) == []
    assert core.hear(hub.BlockDropped(core.turn_id, "thinking", "other")) == []
    assert core.hear(hub.BlockDropped(core.turn_id, "thinking", "h")) == ["thinking", "block_dropped"]


@attrs.define(eq=False)
class Searched(MemoryStore):
    """A store that notes what its search would find."""

    texts: list[str] = attrs.field(factory=list)

    async def append(self, grant: Grant, expected_seq: int, entries: Sequence[Entry], **more: Any) -> int:
        self.texts += [entry.search_text for entry in entries if entry.search_text is not None]
        return await super().append(grant, expected_seq, entries, **more)


async def test_neither_a_given_history_nor_the_search_of_a_fork_has_it(autojump_clock: MockClock) -> None:
    store = Searched()
    settings = encode_settings(Settings("/w"))
    await store.create(NewSession("trip", "echo", "phone", settings, 0))
    grant = await store.acquire("trip")
    events: list[Event] = [
        UserMessage("m1", "one"),
        TurnStarted("m1"),
        Message("half ", "a", 0),
        Message("", "a", 0),
        BlockDropped("a"),
        Message("whole", "b", 0),
        Complete(2, 5, sha256(b"whole").hexdigest()),
    ]
    items = [Committed(n, n, 0, "t1", "phone", event) for n, event in enumerate(events, 1)]
    await store.append(grant, 0, [encode_entry(item) for item in items], durable=True)
    said = await read_history(store, "trip", before_seq=8, limit_bytes=1000)
    assert said == (PastMessage("user", "one"), PastMessage("assistant", "whole"))
    store.texts.clear()
    new = NewSession("copy", "echo", "phone", settings, 0)
    await Forking(store, store, store).fork("trip", "t1", new, "Copy")
    assert store.texts == ["one", "whole"]
