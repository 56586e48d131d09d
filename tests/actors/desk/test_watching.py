"""After a rewind at the desk it is known which turns the conversation has no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs

from actors.desk.watching import DeskWatch, LooksAtDesk
from actors.ports import Journal
from actors.session.mailbox import Mailbox
from bridgehub.desk.records import DeskLook, DeskMark, Where
from tests.actors.core import Core
from tests.actors.desk.test_lost import Rows, ours
from tests.actors.session.steps.test_desk_steps import TERMINAL, seen, turn


@attrs.define
class Rewound:
    """A program whose record has these rows after a rewind. `asked`: which of them were wanted, and of how much."""

    branch: frozenset[str] | None
    where: Where | None = None
    asked: list[tuple[frozenset[str], int | None]] = attrs.field(factory=list)
    rewound: bool = True

    async def look(self, *_: object, **__: object) -> DeskLook:
        return DeskLook(DeskMark("native", 77), self.where, rewound=self.rewound)

    async def on_branch(
        self,
        agent: str,
        conversation: str,
        memory: Mapping[str, Any],
        wanted: frozenset[str],
        *,
        end: int | None = None,
    ) -> frozenset[str] | None:
        self.asked.append((wanted, end))
        return None if self.branch is None else self.branch & wanted


def said() -> Core:
    core = Core()
    core.give(seen(core, *turn("one")))
    ours(core, "two")
    core.give(seen(core, *turn("three")))
    ours(core, "four")
    return core


async def left(core: Core, desk: Rewound) -> tuple[str, ...]:
    watch = DeskWatch(
        cast("LooksAtDesk", desk), core.state, cast("Journal", Rows(core)), Mailbox(), lambda: "c"
    )
    (found,) = await watch.look()
    return found.left


async def test_turns_of_both_sides_are_left_oldest_first() -> None:
    core = said()
    desk = Rewound(frozenset({"one", "x"}))
    found = await left(core, desk)
    assert [one for one in found if one.startswith("desk-")] == ["desk-three"]
    assert len(found) == 3
    assert found.index("desk-three") == 1
    assert desk.asked == [(frozenset({"one", "two", "three", "four"}), 77)], "as far as the look came"
    assert await left(core, Rewound(frozenset({"one", "two", "three", "four"}))) == ()


async def test_what_was_said_here_meanwhile_was_not_left() -> None:
    """Nobody saw it in the terminal."""
    core = said()
    found = await left(core, Rewound(frozenset({"one"}), TERMINAL))
    assert found == ("desk-three",)


async def test_without_a_rewind_or_a_record_nothing_is_left() -> None:
    core = said()
    assert await left(core, Rewound(None)) == ()
    desk = Rewound(frozenset(), rewound=False)
    assert await left(core, desk) == ()
    assert desk.asked == []
