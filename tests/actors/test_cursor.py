"""A cursor reads without gap, from tail or journal, and holds pieces back only as its pace says."""

from __future__ import annotations

import math

import attrs
from trio.testing import MockClock

from actors.cursor import PAGE_ROWS, Cursor
from actors.events.codec import encode_entry, encode_settings
from actors.events.committed import Committed, Event
from actors.events.conversation import Complete, Message
from actors.events.permissions import PermissionRequested
from actors.events.session import Settings
from actors.events.work import ToolStarted
from actors.tail import Tail
from storage.records import Fold, Grant, NewSession
from tests.fakes.memory_store import MemoryStore


@attrs.define(eq=False)
class Shelf:
    """A journal and its tail; `add` commits and publishes."""

    store: MemoryStore = attrs.field(factory=MemoryStore)
    tail: Tail = attrs.field(factory=lambda: Tail("trip", 1, 0))
    grant: Grant = attrs.field(init=False)

    async def open(self) -> Shelf:
        await self.store.create(NewSession("trip", "echo", "phone", encode_settings(Settings("/w")), 0))
        self.grant = await self.store.acquire("trip")
        return self

    async def add(self, *events: Event, publish: bool = True) -> None:
        head = (await self.store.head("trip")).seq
        items = [Committed(head + n, head + n, 0, "t", None, event) for n, event in enumerate(events, 1)]
        entries = [encode_entry(item) for item in items]
        await self.store.append(self.grant, head, entries, durable=True)
        if publish:
            self.tail.publish_nowait(items, [len(entry.payload) for entry in entries])


def piece(number: int) -> Message:
    return Message("x", "b", number)


TOOL = ToolStarted("x", "bash", {})
ASK = PermissionRequested("p", "bash", {}, ("allow",))
END = Complete(1, 1, "")


async def kinds(cursor: Cursor, now: float) -> list[str]:
    return [item.event.kind for item in (await cursor.take(now)).items]


async def test_reads_on_from_the_tail_and_from_the_journal(autojump_clock: MockClock) -> None:
    shelf = await Shelf().open()
    await shelf.add(*(TOOL for _ in range(PAGE_ROWS + 10)))
    shelf.tail.reset(1, shelf.tail.head_seq)
    cursor = Cursor(shelf.tail, shelf.store, 0)
    assert len((await cursor.take(0)).items) == PAGE_ROWS
    await shelf.add(END)
    assert len((await cursor.take(0)).items) == 11
    assert (cursor.position, cursor.due(0)) == (PAGE_ROWS + 11, math.inf)


async def test_what_is_committed_but_not_published_is_not_seen(autojump_clock: MockClock) -> None:
    shelf = await Shelf().open()
    await shelf.add(TOOL)
    shelf.tail.reset(1, 1)
    await shelf.add(TOOL, publish=False)
    cursor = Cursor(shelf.tail, shelf.store, 0)
    assert (await cursor.take(0)).items[-1].seq == 1
    assert (await cursor.take(0)).items == ()


async def test_a_head_inside_a_row_is_passed_with_the_row(autojump_clock: MockClock) -> None:
    """The tail follows another node, and pieces behind its head were folded with those before it."""
    shelf = await Shelf().open()
    await shelf.add(TOOL, *(piece(n) for n in range(4)), END, publish=False)
    whole = encode_entry(Committed(5, 2, 0, "t", None, Message("xxxx", "b", 0)))
    await shelf.store.append(shelf.grant, 6, [], fold=[Fold(2, 5, whole)], durable=True)
    cursor = Cursor(shelf.tail, shelf.store, 0)
    for head, seen in ((3, ["tool_started"]), (3, ["message"]), (3, []), (6, ["complete"])):
        shelf.tail.reset(1, head)
        assert await kinds(cursor, 0) == seen
    await shelf.add(TOOL, publish=False)
    assert await kinds(cursor, 0) == [], "what is not published is not seen"


async def test_pace_holds_pieces_and_what_is_behind_them(autojump_clock: MockClock) -> None:
    shelf = await Shelf().open()
    cursor = Cursor(shelf.tail, shelf.store, 0, pace_s=10)
    await shelf.add(piece(0))
    assert cursor.due(0) == 0
    assert await kinds(cursor, 0) == ["message"]
    await shelf.add(TOOL, piece(1), TOOL)
    assert cursor.due(1) == 1
    assert await kinds(cursor, 1) == ["tool_started"]
    assert cursor.due(1) == 10
    assert await kinds(cursor, 9) == []
    assert await kinds(cursor, 10) == ["message", "tool_started"]


async def test_a_request_or_an_end_starts_a_round_at_once(autojump_clock: MockClock) -> None:
    for urgent in (ASK, END):
        shelf = await Shelf().open()
        cursor = Cursor(shelf.tail, shelf.store, 0, pace_s=10)
        await shelf.add(piece(0))
        await kinds(cursor, 0)
        await shelf.add(piece(1), urgent)
        assert cursor.due(1) == 1
        assert await kinds(cursor, 1) == ["message", urgent.kind]
        await shelf.add(piece(2))
        assert cursor.due(2) == 11


async def test_a_round_brings_all_pages_that_have_come(autojump_clock: MockClock) -> None:
    shelf = await Shelf().open()
    for number in range(0, 1000, 2):
        await shelf.add(piece(number), TOOL)
    shelf.tail.reset(1, shelf.tail.head_seq)
    shelf.tail.urgent_seq = 0
    cursor = Cursor(shelf.tail, shelf.store, 0, pace_s=10)
    found = 0
    while cursor.due(0) == 0:
        found += len((await cursor.take(0)).items)
    assert found == 1000
    await shelf.add(piece(1))
    assert cursor.due(0) == 10


async def test_a_paced_cursor_waits_instead_of_spinning(autojump_clock: MockClock) -> None:
    shelf = await Shelf().open()
    cursor = Cursor(shelf.tail, shelf.store, 0, pace_s=10)
    await shelf.add(piece(0))
    await kinds(cursor, 0)
    await shelf.add(piece(1))
    shelf.tail._items.clear()
    shelf.tail._sizes.clear()
    shelf.tail._rounds.clear()
    assert shelf.tail.read_nowait(cursor.position) is None
    assert cursor.due(1) == 10
    assert await kinds(cursor, 10) == ["message"]
