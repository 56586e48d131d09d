"""What is written beside the journal: the snapshot only where it changed, and then for certain."""

from __future__ import annotations

import orjson
import trio

from actors.commands import Decide, Rename, Send
from actors.session.loading import load_state
from actors.session.snapshot import summary
from bridgehub.protocol import events as hub
from storage.records import Entry, NewSession
from tests.actors.core import SESSION, Core, fresh_record
from tests.fakes.memory_store import MemoryStore


def test_a_summary_has_a_snapshot_only_if_it_changed() -> None:
    core = Core()
    core.state.control_dirty = False  # as `load_state` leaves a session that never had an append
    assert summary(core.state).snapshot is not None
    assert summary(core.state).snapshot is None
    core.do(Send("m0", "hello"))
    core.give(core.ready())
    core.hear(hub.Consumed(core.turn_id))
    step = core.step(core.reported(hub.TextPiece(core.turn_id, "text", "b", "some")))
    assert step.events
    told = summary(core.state)
    assert (told.snapshot, told.hub_seq) == (None, 2)
    core.step(core.given(Rename("a trip")))
    told = summary(core.state)
    assert told.snapshot is not None
    assert b"a trip" in told.snapshot


async def test_a_loaded_state_knows_whether_a_snapshot_is_kept() -> None:
    with trio.fail_after(40):
        store = MemoryStore()
        record = fresh_record()
        await store.create(NewSession(SESSION, "echo", "phone", record.settings, 0))
        _, state = await load_state(store, store, SESSION)
        assert not state.control_dirty
        first = summary(state)
        assert first.snapshot is not None
        grant = await store.acquire(SESSION)
        given = [Entry("session_updated", b"{}", 1)]
        await store.append(grant, 0, given, durable=True, summary=first)
        _, state = await load_state(store, store, SESSION)
        assert summary(state).snapshot is None


def test_an_open_request_is_encoded_once() -> None:
    core = Core()
    core.do(Send("m0", "hello"))
    core.give(core.ready())
    core.hear(hub.PermissionAsked(core.turn_id, "r1", "Bash", {"command": "ls"}, ("allow", "deny")))
    turn = core.state.turn
    assert turn is not None
    core.step(core.given(Rename("one")))
    first = summary(core.state)
    assert orjson.loads(first.snapshot or b"")["turn"]["requests"]["r1"]["input"] == {"command": "ls"}
    turn.encoded["r1"] = b'{"kept":true}'
    core.step(core.given(Rename("two")))
    assert b'"r1":{"kept":true}' in (summary(core.state).snapshot or b"")
    core.do(Decide("r1", "allow"))
    core.step(core.given(Rename("three")))
    assert b"kept" not in (summary(core.state).snapshot or b"")
    assert turn.encoded == {}
