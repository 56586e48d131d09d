"""What every `Journal` and `Ownership` must do, as functions to be run over any implementation.

`CHECKS` lists them; each takes a `Stores`: the three ports over one empty store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import attrs
import pytest
import trio

from actors.ports import Catalog, Journal, Ownership
from storage.errors import (
    Fenced,
    FoldMismatch,
    SequenceConflict,
    SessionMissing,
)
from storage.records import CommandRecord, Entry, Fold, Grant, Head, NewSession, Row, Summary

__all__ = ["CHECKS", "Check", "Stores", "check", "entry", "new_session", "started", "summary"]


@attrs.frozen
class Stores:
    """The ports of one store."""

    journal: Journal
    ownership: Ownership
    catalog: Catalog


Check = Callable[[Stores], Awaitable[None]]
CHECKS: list[Check] = []


def check(one: Check) -> Check:
    """Add a check to `CHECKS`."""
    CHECKS.append(one)
    return one


def new_session(session_id: str = "trip", at_ms: int = 1_000) -> NewSession:
    return NewSession(session_id, "echo", "ipad", b'{"workspace":"w"}', at_ms)


def entry(text: str = "x", kind: str = "message", turn_id: str | None = "t1", at_ms: int = 2_000) -> Entry:
    return Entry(kind, text.encode(), at_ms, turn_id=turn_id)


def summary(*, unfinished: bool = False, state: str = "idle", snapshot: bytes = b"s") -> Summary:
    return Summary("a trip", state, 3, 1, unfinished, snapshot, "hub-1", 17)


async def started(stores: Stores, session_id: str = "trip", at_ms: int = 1_000) -> Grant:
    await stores.catalog.create(new_session(session_id, at_ms))
    return await stores.ownership.acquire(session_id)


async def whole(stores: Stores, session_id: str = "trip") -> Sequence[Row]:
    return await stores.journal.read(session_id, 0, 10_000)


def places(rows: Sequence[Row]) -> list[tuple[int, int, bytes]]:
    return [(row.first_seq, row.seq, row.payload) for row in rows]


@check
async def append_gives_neighbouring_seqs_and_the_new_head(stores: Stores) -> None:
    grant = await started(stores)
    assert grant == Grant("trip", 1, 0)
    assert await stores.journal.append(grant, 0, [entry("a"), entry("b")], durable=True) == 2
    assert await stores.journal.append(grant, 2, [entry("c")], durable=False) == 3
    rows = await whole(stores)
    assert places(rows) == [(1, 1, b"a"), (2, 2, b"b"), (3, 3, b"c")]
    assert await stores.journal.head("trip") == Head(1, 3)
    numbers = [row.commit_no for row in rows]
    assert numbers == sorted(set(numbers))


@check
async def a_row_keeps_all_that_its_entry_says(stores: Stores) -> None:
    grant = await started(stores)
    given = Entry("user_message", b"\x00\xff", 2_345, turn_id="t9", device_id="ipad", search_text="word")
    bare = Entry("session_updated", b"", 2_346)
    await stores.journal.append(grant, 0, [given, bare], durable=True)
    first, second = await whole(stores)
    expected = Row("trip", 1, 1, "t9", "user_message", "ipad", 2_345, b"\x00\xff", first.commit_no)
    assert first == expected
    assert (second.turn_id, second.device_id, second.payload) == (None, None, b"")


@check
async def a_span_covers_its_seqs_and_is_stored_under_the_last(stores: Stores) -> None:
    grant = await started(stores)
    entries = [entry("a"), attrs.evolve(entry("bcd"), span=3), entry("e")]
    assert await stores.journal.append(grant, 0, entries, durable=False) == 5
    assert places(await whole(stores)) == [(1, 1, b"a"), (2, 4, b"bcd"), (5, 5, b"e")]
    with pytest.raises(ValueError, match="at least one"):
        await stores.journal.append(grant, 5, [attrs.evolve(entry(), span=0)], durable=False)


@check
async def pages_are_bounded_by_rows_and_by_the_seqs_given(stores: Stores) -> None:
    grant = await started(stores)
    await stores.journal.append(grant, 0, [entry(str(n)) for n in range(1, 11)], durable=False)
    read = stores.journal.read
    assert [row.seq for row in await read("trip", 3, 4)] == [4, 5, 6, 7]
    assert [row.seq for row in await read("trip", 3, 100, before=6)] == [4, 5]
    assert [row.seq for row in await read("trip", 0, 3, newest=True)] == [8, 9, 10]
    assert [row.seq for row in await read("trip", 2, 3, before=9, newest=True)] == [6, 7, 8]
    assert list(await read("trip", 10, 5)) == []
    assert list(await read("nobody", 0, 5)) == []


@check
async def a_page_ends_once_it_passes_256_kib(stores: Stores) -> None:
    grant = await started(stores)
    big = "x" * 100_000
    await stores.journal.append(grant, 0, [entry(big)] * 5, durable=False)
    await stores.journal.append(grant, 5, [entry("y" * 3_000_000)], durable=False)
    assert [row.seq for row in await stores.journal.read("trip", 0, 100)] == [1, 2, 3]
    assert [row.seq for row in await stores.journal.read("trip", 5, 100)] == [6]
    assert [row.seq for row in await stores.journal.read("trip", 0, 100, before=6, newest=True)] == [3, 4, 5]
    assert [row.seq for row in await stores.journal.read("trip", 0, 100, newest=True)] == [6]


@check
async def kinds_choose_rows(stores: Stores) -> None:
    grant = await started(stores)
    kinds = ["user_message", "turn_started", "message", "task_started", "message", "complete", "user_message"]
    await stores.journal.append(grant, 0, [entry(kind=kind) for kind in kinds], durable=False)
    read = stores.journal.read

    async def seqs(kinds: list[str], limit: int = 10, *, newest: bool = False) -> list[int]:
        return [row.seq for row in await read("trip", 0, limit, kinds=kinds, newest=newest)]

    assert await seqs(["user_message", "turn_started"]) == [1, 2, 7]
    assert await seqs(["user_message"]) == [1, 7]
    assert await seqs(["user_message"], 1, newest=True) == [7]
    assert await seqs(["complete", "task_started"]) == [4, 6]
    assert await seqs(["message", "complete"], 2, newest=True) == [5, 6]
    assert await seqs([]) == []


@check
async def a_fold_replaces_rows_by_one_under_their_last_seq(stores: Stores) -> None:
    grant = await started(stores)
    await stores.journal.append(grant, 0, [entry("a"), entry("b"), entry("c"), entry("d")], durable=False)
    before = await whole(stores)
    fold = Fold(2, 3, entry("bc"))
    assert await stores.journal.append(grant, 4, [entry("e")], fold=[fold], durable=True) == 5
    rows = await whole(stores)
    assert places(rows) == [(1, 1, b"a"), (2, 3, b"bc"), (4, 4, b"d"), (5, 5, b"e")]
    assert rows[1].commit_no > before[3].commit_no


@check
async def a_fold_may_take_rows_of_its_own_append_and_spans_and_folds(stores: Stores) -> None:
    grant = await started(stores)
    first = [entry("a"), attrs.evolve(entry("bc"), span=2)]
    await stores.journal.append(grant, 0, first, fold=[Fold(1, 3, entry("abc"))], durable=False)
    assert places(await whole(stores)) == [(1, 3, b"abc")]
    more = [entry("d"), entry("e", kind="complete")]
    folds = [Fold(1, 4, entry("abcd")), Fold(5, 5, entry("E", kind="complete"))]
    assert await stores.journal.append(grant, 3, more, fold=folds, durable=True) == 5
    assert places(await whole(stores)) == [(1, 4, b"abcd"), (5, 5, b"E")]


@check
async def a_fold_that_cuts_a_row_undoes_its_whole_append(stores: Stores) -> None:
    grant = await started(stores)
    await stores.journal.append(grant, 0, [entry("a"), attrs.evolve(entry("bc"), span=2)], durable=False)
    given = attrs.evolve(entry("d"), command_id="m1", command_state="queued")
    for first, last in [(1, 2), (3, 3), (2, 9), (4, 5), (3, 2), (7, 7)]:
        fold = [Fold(first, last, entry("?"))]
        with pytest.raises(FoldMismatch):
            await stores.journal.append(grant, 3, [given], fold=fold, summary=summary(), durable=True)
    assert places(await whole(stores)) == [(1, 1, b"a"), (2, 3, b"bc")]
    assert await stores.journal.head("trip") == Head(1, 3)
    assert await stores.journal.find_commands("trip", ["m1"]) == {}
    record = await stores.catalog.get("trip")
    assert record is not None
    assert record.summary is None


@check
async def an_older_owner_is_fenced_for_good(stores: Stores) -> None:
    old = await started(stores)
    await stores.journal.append(old, 0, [entry("a")], durable=False)
    new = await stores.ownership.acquire("trip")
    assert new == Grant("trip", old.owner_epoch + 1, 1)
    with pytest.raises(Fenced):
        await stores.journal.append(old, 1, [entry("b")], durable=True)
    with pytest.raises(Fenced):
        await stores.journal.append(old, 0, [], summary=summary(), durable=True)
    assert await stores.journal.append(new, 1, [entry("c")], durable=True) == 2
    assert places(await whole(stores)) == [(1, 1, b"a"), (2, 2, b"c")]


@check
async def a_wrong_head_is_a_conflict(stores: Stores) -> None:
    grant = await started(stores)
    await stores.journal.append(grant, 0, [entry("a")], durable=False)
    for wrong in (0, 2):
        with pytest.raises(SequenceConflict):
            await stores.journal.append(grant, wrong, [entry("b")], durable=False)
    assert await stores.journal.append(grant, 1, [entry("b")], durable=False) == 2


@check
async def a_session_that_is_not_there_is_missing(stores: Stores) -> None:
    with pytest.raises(SessionMissing):
        await stores.ownership.acquire("nobody")
    with pytest.raises(SessionMissing):
        await stores.journal.append(Grant("nobody", 1, 0), 0, [entry()], durable=False)
    with pytest.raises(SessionMissing):
        await stores.journal.head("nobody")
    with pytest.raises(SessionMissing):
        await stores.journal.first_seq_of_turns("nobody", 3)
    with pytest.raises(SessionMissing):
        await stores.catalog.note("nobody", read_seq=1)
    assert await stores.journal.find_commands("nobody", ["m"]) == {}
    assert await stores.catalog.get("nobody") is None
    assert await stores.catalog.unread_count("nobody", 0) == 0


@check
async def sessions_append_at_once_without_mixing(stores: Stores) -> None:
    names = [f"s{n}" for n in range(40)]
    grants = [await started(stores, name) for name in names]

    async def write(grant: Grant) -> None:
        seq = 0
        for step in range(5):
            texts = [entry(f"{grant.session_id}/{step}/{n}") for n in range(3)]
            seq = await stores.journal.append(grant, seq, texts, durable=step == 4)

    async with trio.open_nursery() as nursery:
        for grant in grants:
            nursery.start_soon(write, grant)
    for name in names:
        expected = [f"{name}/{step}/{n}".encode() for step in range(5) for n in range(3)]
        rows = await whole(stores, name)
        assert places(rows) == [(n, n, text) for n, text in enumerate(expected, start=1)]


@check
async def of_appends_to_one_session_at_once_one_wins(stores: Stores) -> None:
    grant = await started(stores)
    won: list[str] = []

    async def write(name: str) -> None:
        with suppress(SequenceConflict):
            await stores.journal.append(grant, 0, [entry(name)], durable=False)
            won.append(name)
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(write, f"w{n}")
    assert len(won) == 1
    assert places(await whole(stores)) == [(1, 1, won[0].encode())]


@check
async def a_command_keeps_its_first_seq_and_its_newest_state(stores: Stores) -> None:
    grant = await started(stores)
    await started(stores, "other")

    def step(state: str | None, command_id: str = "m1") -> Entry:
        return attrs.evolve(entry(kind="delivery"), command_id=command_id, command_state=state)

    await stores.journal.append(grant, 0, [entry(), step(None), step("queued", "m2")], durable=True)
    assert await stores.journal.find_commands("trip", ["m1"]) == {"m1": CommandRecord("m1", 2, "")}
    await stores.journal.append(grant, 3, [step("queued"), step("handed"), step(None)], durable=True)
    found = await stores.journal.find_commands("trip", ["m1", "m2", "m3"])
    assert found == {"m1": CommandRecord("m1", 2, "handed"), "m2": CommandRecord("m2", 3, "queued")}
    assert await stores.journal.find_commands("other", ["m1"]) == {}


@check
async def the_first_seq_of_turns_counts_from_their_first_row(stores: Stores) -> None:
    grant = await started(stores)
    first_of = stores.journal.first_seq_of_turns
    assert await first_of("trip", 5) == 1
    turn = [
        entry(kind="user_message", turn_id="t1"),  # 1
        entry(kind="turn_started", turn_id="t1"),  # 2
        entry(kind="message", turn_id="t1"),  # 3
        entry(kind="user_message", turn_id="t2"),  # 4: queued while the first turn runs
        entry(kind="message", turn_id="t1"),  # 5
        entry(kind="session_updated", turn_id=None),  # 6
    ]
    await stores.journal.append(grant, 0, turn, durable=True)
    assert await first_of("trip", 1) == 1
    assert await first_of("trip", 0) == 7
    then = [entry(kind="complete", turn_id="t1"), entry(kind="turn_started", turn_id="t2")]  # 7, 8
    await stores.journal.append(grant, 6, then, fold=[Fold(3, 3, entry("m"))], durable=True)
    assert await first_of("trip", 1) == 4
    assert await first_of("trip", 2) == 1
    assert await first_of("trip", 1_000) == 1
    assert await first_of("trip", 0) == 9


@check
async def the_first_seq_of_a_turn_may_lie_inside_a_folded_row(stores: Stores) -> None:
    grant = await started(stores)
    rows = [entry(kind="user_message"), attrs.evolve(entry(kind="turn_started", turn_id="t2"), span=4)]
    await stores.journal.append(grant, 0, rows, durable=True)
    assert await stores.journal.first_seq_of_turns("trip", 1) == 2


@check
async def a_writable_store_says_so_and_changes_nothing(stores: Stores) -> None:
    grant = await started(stores)
    await stores.journal.append(grant, 0, [entry("a")], durable=True)
    before = await stores.catalog.get("trip")
    await stores.journal.check_writable()
    await stores.journal.check_writable()
    assert await stores.catalog.get("trip") == before
    assert places(await whole(stores)) == [(1, 1, b"a")]


@check
async def an_append_that_was_cancelled_before_it_began_left_no_trace(stores: Stores) -> None:
    grant = await started(stores)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stores.journal.append(grant, 0, [entry()], durable=True)
    assert scope.cancelled_caught
    assert await stores.journal.head("trip") == Head(1, 0)
