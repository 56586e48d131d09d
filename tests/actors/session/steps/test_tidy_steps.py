"""Making the agent start a new conversation, having it ready, and where a session stands in lists."""

from __future__ import annotations

import attrs
import orjson

from actors.commands import Configure, Organize, Renew, Send, Warm
from actors.events.work import PlanEntry
from actors.session.effects import KeepNote, SendToHub, StartHub, StopHub
from actors.session.snapshot import summary
from bridgehub.protocol import events as hub
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import WarmUp
from tests.actors.core import Core


def answered() -> Core:
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    core.hear(hub.AgentMemory(None, {"thread_id": "t"}), hub.TurnDone(core.turn_id))
    return core


def test_a_renewed_agent_starts_with_the_next_message() -> None:
    core = answered()
    assert core.do(Renew(), "mac") == ["notice"]
    assert core.events[0].event.code == "renewed"  # type: ignore[union-attr]
    assert [type(order) for order in core.orders] == [StopHub]
    for _ in range(2):
        assert (core.state.renewals, core.state.agent_memory, core.state.hub_id) == (1, None, None)
        core.reload()
    core.do(Send("m2", "again"))
    core.do(Renew())
    assert core.reply_word == "rejected busy"


def test_warm_starts_a_hub_and_nothing_else() -> None:
    core = Core()
    assert core.do(Warm()) == []
    assert [type(order) for order in core.orders] == [StartHub]
    core.do(Warm())
    assert core.orders == []


def test_warm_has_the_program_started_once_the_hub_is_there() -> None:
    core = Core()
    core.do(Warm())
    core.give(attrs.evolve(core.ready(), welcome=attrs.evolve(core.ready().welcome, takes_warm_up=True)))
    assert core.orders == [SendToHub(WarmUp(0, Setup()))]
    core.do(Configure({"model": "m"}))
    core.do(Warm())
    assert core.orders == [SendToHub(WarmUp(0, Setup(model="m")))]
    core.do(Send("m1", "go"))
    assert not core.state.is_warmed
    assert core.do(Warm()) == []
    assert core.orders == []


def test_a_terminal_that_joins_has_the_program_started_and_kept() -> None:
    core = Core()
    core.do(Warm(joins=True))
    ready = attrs.evolve(core.ready(), welcome=attrs.evolve(core.ready().welcome, takes_warm_up=True))
    core.give(ready)
    assert core.orders == [SendToHub(WarmUp(0, Setup(), joins=True))]
    core.give(ready)
    assert core.orders == [SendToHub(WarmUp(0, Setup()))], "a later link says it no more"
    core.do(Send("m1", "go"))
    core.do(Warm(joins=True))
    assert core.orders == [SendToHub(WarmUp(0, Setup(), joins=True))], "in a turn too"


def test_a_hub_of_before_is_not_asked_to_warm_up() -> None:
    core = Core()
    core.do(Warm())
    core.give(core.ready())
    assert core.orders == []


def test_a_new_message_takes_a_session_out_of_the_archive() -> None:
    core = answered()
    core.do(Organize(pinned=True, archived=True))
    assert core.orders == [KeepNote(pinned=True, archived=True)]
    core.do(Send("m2", "again"))
    assert KeepNote(archived=False) in core.orders
    core.hear(hub.TurnDone(core.turn_id))
    core.do(Send("m3", "more"))
    assert KeepNote(archived=False) not in core.orders


def test_lists_show_settings_and_how_far_the_plan_is() -> None:
    core = answered()
    core.do(Configure({"model": "m"}))
    core.state.plan = (PlanEntry("a", "completed"), PlanEntry("b", "pending"))
    core.do(Configure({}))
    core.state.control_dirty = True
    told = orjson.loads(summary(core.state).shown or b"")
    assert told["settings"]["model"] == "m"
    assert (told["plan"], told["held"]) == ({"done": 1, "total": 2}, None)
