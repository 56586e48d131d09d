"""What the agent's own record lacks is given to it again: once, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import attrs

from actors.commands import Send
from actors.desk.lost import MAX_CHARS, read_lost
from actors.desk.watching import DeskWatch, LooksAtDesk
from actors.ports import Journal
from actors.session.mailbox import Mailbox
from bridgehub.protocol import events as hub
from storage.records import Row
from tests.actors.core import SESSION, Core
from tests.actors.session.steps.test_desk_steps import seen, turn


@attrs.frozen
class Record:
    """A program's record, as far as its branch; None: it has none."""

    ids: frozenset[str] | None

    async def on_branch(
        self,
        agent: str,
        conversation: str,
        memory: Mapping[str, Any],
        wanted: frozenset[str],
        *,
        end: int | None = None,
    ) -> frozenset[str] | None:
        return None if self.ids is None else self.ids & wanted


@attrs.frozen
class Rows:
    """The journal of a core."""

    core: Core

    async def read(
        self, session_id: str, after: int, limit: int, *, before: int, kinds: Collection[str], newest: bool
    ) -> Sequence[Row]:
        assert (session_id, newest) == (SESSION, True)
        return [row for row in self.core.rows if row.seq < before and row.kind in kinds][-limit:]


def ours(core: Core, name: str) -> None:
    """Have a turn of ours, which the agent's record calls by its name."""
    core.do(Send(name, f"asks {name}"))
    if core.state.hub_id is not None:
        core.give(core.ready())
    turn_id = core.turn_id
    core.hear(
        hub.Consumed(turn_id),
        hub.TextPiece(turn_id, "text", f"b-{name}", f"says {name}"),
        hub.TurnDone(turn_id, position={"conversation": "c", "message": name}),
    )


async def lost(core: Core, *branch: str) -> str:
    """Return what a next prompt brings if the record's branch has these rows."""
    watch = DeskWatch(
        cast("LooksAtDesk", Record(frozenset(branch) if branch else None)),
        core.state,
        cast("Journal", Rows(core)),
        Mailbox(),
        lambda: "c",
    )
    return await read_lost(watch, "the-next-turn")


def asked(text: str) -> list[str]:
    """Return the names of the turns in a text, in its order."""
    return [line.removeprefix("asks ") for line in text.split("\n") if line.startswith("asks ")]


async def test_turns_of_both_sides_that_the_branch_lacks_keep_order() -> None:
    core = Core()
    ours(core, "one")
    core.give(seen(core, *turn("two")))
    ours(core, "three")
    assert await lost(core, "one", "two", "three") == ""
    assert asked(await lost(core, "three")) == ["one", "two"]
    text = await lost(core, "one", "three")
    assert asked(text) == ["two"]
    assert "[user]\nasks two\n\n[assistant]\nsays two" in text
    assert text.startswith("<said-elsewhere>")
    assert text.endswith("</said-elsewhere>")


async def test_what_a_person_left_by_a_rewind_stays_left() -> None:
    core = Core()
    ours(core, "one")
    core.give(seen(core, *turn("two")))
    core.give(seen(core, *turn("three"), left=("desk-two",)))
    assert asked(await lost(core, "one", "three")) == []
    assert asked(await lost(core, "three")) == ["one"]


async def test_a_record_without_branches_lacks_nothing() -> None:
    core = Core()
    ours(core, "one")
    assert await lost(core) == ""


async def test_the_newest_come_if_it_is_too_much() -> None:
    core = Core()
    for name in ("a" * MAX_CHARS, "b", "c"):
        core.give(seen(core, *turn(name)))
    assert asked(await lost(core, "none of them")) == ["b", "c"]
