"""Steering, resume knowledge and earlier history (`docs/internals/architecture.md`)."""

from __future__ import annotations

import attrs
import pytest
from trio.testing import MockClock

from actors.commands import Decide, Interrupt, Send
from actors.events.codec import encode_entry
from actors.events.committed import Committed, Event
from actors.events.conversation import Delivery, Message, TurnStarted, UserMessage
from actors.events.history import read_history
from actors.session.effects import SendHistory, SteerHub
from actors.session.snapshot import view
from actors.session.steps.hub_steps import MAX_MEMORY_BYTES
from bridgehub.protocol import events as hub
from bridgehub.protocol.messages import PastMessage
from storage.records import NewSession
from tests.actors.core import Core
from tests.fakes.memory_store import MemoryStore

STEER = Send("s1", "and this", mode="steer")


def steering_core() -> Core:
    """Return a session whose turn the agent has taken, on a hub that takes more."""
    core = Core()
    core.do(Send("m1", "first"))
    ready = core.ready()
    core.give(attrs.evolve(ready, welcome=attrs.evolve(ready.welcome, can_steer=True)))
    core.hear(hub.Consumed(core.turn_id))
    return core


def states_of(core: Core, message_id: str) -> list[str]:
    rows = [item.event for item in core.events]
    return [one.state for one in rows if isinstance(one, Delivery) and one.message_id == message_id]


def test_a_steered_message_joins_the_turn_and_shares_its_end() -> None:
    core = steering_core()
    assert core.do(STEER, "mac") == ["user_message", "d:handed"]
    assert core.reply_word == "accepted"
    assert {item.turn_id for item in core.events} == {core.turn_id}
    assert core.orders == [SteerHub(core.turn_id, "s1", core.events[0].seq)]
    assert core.hear(hub.SteerTaken(core.turn_id, "s1")) == ["d:consumed"]
    assert core.state.taken == 2
    assert core.hear(hub.TurnDone(core.turn_id)) == ["d:answered", "d:answered", "complete"]
    assert states_of(core, "s1") == ["answered"]
    assert core.do(STEER) == []
    assert core.reply_word == "accepted, duplicate"


@pytest.mark.parametrize("refused", [True, False])
def test_a_message_that_was_not_taken_waits_for_its_turn(refused: bool) -> None:
    core = steering_core()
    core.do(STEER)
    running = core.turn_id
    if refused:
        assert core.hear(hub.SteerRefused(running, "s1")) == ["d:queued"]
        assert core.hear(hub.TurnDone(running)) == ["d:answered", "complete", "turn_started", "d:handed"]
    else:
        words = core.hear(hub.TurnDone(running))
        assert words == ["d:queued", "d:answered", "complete", "turn_started", "d:handed"]
    assert core.turn_id != running
    assert core.state.turn is not None
    assert core.state.turn.message_id == "s1"
    assert not core.state.queue


def test_a_message_whose_fate_the_hub_lost_is_unknown() -> None:
    core = steering_core()
    core.do(STEER)
    assert core.hear(hub.SteerLost(core.turn_id, "s1")) == ["d:unknown"]
    assert core.hear(hub.TurnDone(core.turn_id)) == ["d:answered", "complete"]
    core.reload()
    assert list(core.state.unknown) == ["s1"]


def test_steering_is_refused_where_the_agent_cannot() -> None:
    core = Core()
    core.do(Send("m1", "first"))
    core.give(core.ready())
    core.hear(hub.Consumed(core.turn_id))
    assert core.do(STEER) == []
    assert core.reply_word == "rejected cannot_steer"
    steered = steering_core()
    steered.do(Interrupt())
    assert steered.do(STEER) == []
    assert steered.reply_word == "rejected cannot_steer"


def test_a_new_link_hears_again_what_its_hub_did_not() -> None:
    core = steering_core()
    core.do(STEER)
    core.do(attrs.evolve(STEER, message_id="s2"))
    core.reload()
    ready = core.ready(core.turn_id)
    core.give(attrs.evolve(ready, welcome=attrs.evolve(ready.welcome, steered=("s1",), history_wanted=99)))
    assert [one.message_id for one in core.orders if isinstance(one, SteerHub)] == ["s2"]
    assert [one.limit_bytes for one in core.orders if isinstance(one, SendHistory)] == [99]


def test_a_dead_hub_leaves_a_steered_message_failed_or_unknown() -> None:
    core = steering_core()
    core.do(STEER)
    core.hear(hub.SteerTaken(core.turn_id, "s1"))
    core.do(attrs.evolve(STEER, message_id="s2"))
    core.give(core.gone())
    assert states_of(core, "s1") == ["failed"]
    assert states_of(core, "s2") == ["unknown"]


def test_memory_and_grants_outlive_the_hub() -> None:
    core = steering_core()
    options = ("allow", "deny", "allow_session")
    core.hear(hub.AgentMemory(core.turn_id, {"thread_id": "x"}))
    core.hear(hub.PermissionAsked(core.turn_id, "p1", "bash", {}, options, grant="ls in this folder"))
    core.do(Decide("p1", "allow_session"), "mac")
    core.reload()
    assert core.state.agent_memory == {"thread_id": "x"}
    assert [(one.grant, one.by_device) for one in view(core.state).grants] == [("ls in this folder", "mac")]
    core.hear(hub.AgentMemory(core.turn_id, {"thread_id": "y" * MAX_MEMORY_BYTES}))
    assert core.state.agent_memory == {"thread_id": "x"}


async def test_history_is_the_newest_that_was_said_and_fits(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.create(NewSession("trip", "echo", "phone", b"{}", 0))
    grant = await store.acquire("trip")
    events: list[tuple[str, Event]] = [
        ("t1", UserMessage("m1", "one")),
        ("t1", TurnStarted("m1")),
        ("t2", UserMessage("m2", "two")),
        ("t1", Message("uno", "b", 0)),
        ("t9", UserMessage("m9", "taken back")),
        ("t2", TurnStarted("m2")),
        ("t2", Message("dos ", "b", 0)),
        ("t2", Message("più", "c", 0)),
        ("t3", UserMessage("m3", "three")),
        ("t3", TurnStarted("m3")),
    ]
    items = [Committed(n, n, 0, turn, "phone", event) for n, (turn, event) in enumerate(events, 1)]
    await store.append(grant, 0, [encode_entry(item) for item in items], durable=True)
    said = await read_history(store, "trip", before_seq=10, limit_bytes=1000)
    assert said == (
        PastMessage("user", "one"),
        PastMessage("assistant", "uno"),
        PastMessage("user", "two"),
        PastMessage("assistant", "dos più"),
    )
    fits = len("twodos ") + len("più".encode())
    assert await read_history(store, "trip", before_seq=10, limit_bytes=fits) == said[2:]


async def test_history_holds_steered_and_omits_retried_messages(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    await store.create(NewSession("trip", "echo", "phone", b"{}", 0))
    grant = await store.acquire("trip")
    events: list[tuple[str, Event]] = [
        ("t1", UserMessage("m1", "one")),
        ("t1", TurnStarted("m1")),
        ("t1", Message("uno", "b", 0)),
        ("t1", UserMessage("s1", "steered")),
        ("t1", Message(" y más", "b", 3)),
        ("t2", UserMessage("m2", "lost once")),
        ("t2", TurnStarted("m2")),
        ("t3", TurnStarted("m2")),
    ]
    items = [Committed(n, n, 0, turn, "phone", event) for n, (turn, event) in enumerate(events, 1)]
    await store.append(grant, 0, [encode_entry(item) for item in items], durable=True)
    said = await read_history(store, "trip", before_seq=8, limit_bytes=1000, leave_out="m2")
    assert said == (
        PastMessage("user", "one"),
        PastMessage("user", "steered"),
        PastMessage("assistant", "uno y más"),
    )
