"""The agent's to-do list: whole each time, bounded, and there after a reload."""

from __future__ import annotations

from actors.commands import Send
from actors.events.work import PlanEntry, PlanUpdated
from actors.session.snapshot import view
from bridgehub.protocol import events as hub
from bridgehub.protocol.limits import MAX_PLAN_CHARS, MAX_PLAN_ENTRIES
from tests.actors.core import Core


def test_a_list_is_journalled_whole_and_kept() -> None:
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    entries = ({"content": "one", "status": "in_progress"}, {"content": "two"}, {"status": "completed"})
    assert core.hear(hub.PlanChanged(core.turn_id, entries)) == ["d:consumed", "plan_updated"]
    expected = (PlanEntry("one", "in_progress"), PlanEntry("two", "pending"))
    assert core.events[1].event == PlanUpdated(expected)
    core.reload()
    assert view(core.state).plan == expected


def test_a_long_list_is_cut() -> None:
    core = Core()
    core.do(Send("m1", "go"))
    core.give(core.ready())
    many = tuple({"content": "x" * 9999, "status": "?"} for _ in range(MAX_PLAN_ENTRIES + 1))
    core.hear(hub.PlanChanged(core.turn_id, many))
    assert len(core.state.plan) == MAX_PLAN_ENTRIES
    assert core.state.plan[0] == PlanEntry("x" * MAX_PLAN_CHARS, "pending")
