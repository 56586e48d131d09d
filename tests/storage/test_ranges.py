"""Whatever is appended and folded, a session's rows cover 1 to its head, each seq once; in both stores
alike."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import FoldMismatch
from storage.records import Entry, Fold, Row
from tests.fakes.memory_store import MemoryStore
from tests.storage.journal_contract import Stores, started
from tests.storage.stores import sqlite_stores

Script = Sequence[tuple[list[Entry], list[tuple[int, int, Entry]]]]
"""Appends, and the folds of each."""

KINDS = ("message", "thinking", "user_message", "turn_started", "complete")
TURNS = (None, "t1", "t2", "t3")

entries = st.builds(
    Entry,
    kind=st.sampled_from(KINDS),
    payload=st.binary(max_size=4),
    at_ms=st.integers(0, 2**40),
    turn_id=st.sampled_from(TURNS),
    search_text=st.sampled_from((None, "a word", "\x00 \ud7ff '")),
    span=st.integers(1, 4),
    command_id=st.sampled_from((None, "m1", "m2")),
    command_state=st.sampled_from((None, "queued", "handed")),
)
folds = st.tuples(st.integers(-3, 12), st.integers(0, 6), entries)
"""Where it begins, counted back from the old head; how far it goes; what it becomes. Many cut through
rows."""
steps = st.lists(st.tuples(st.lists(entries, max_size=4), st.lists(folds, max_size=2)), max_size=8)


def made_fold(head: int, begins: int, length: int, entry: Entry) -> Fold:
    first = max(head - begins, 1)
    return Fold(first, first + length, entry)


async def play(stores: Stores, script: Script) -> list[object]:
    """Run the script and return all that a caller could see of it."""
    grant = await started(stores)
    head = 0
    seen: list[object] = []
    for texts, cuts in script:
        fold = [made_fold(head, *cut) for cut in cuts]
        try:
            head = await stores.journal.append(grant, head, texts, fold=fold, durable=False)
        except FoldMismatch:
            seen.append("mismatch")
        rows = await stores.journal.read("trip", 0, 1_000)
        assert_covered(rows, head)
        assert (await stores.journal.head("trip")).seq == head
        seen += [(row.first_seq, row.seq, row.kind, row.payload, row.turn_id) for row in rows]
        seen += [await stores.journal.first_seq_of_turns("trip", count) for count in range(4)]
        seen.append(await stores.journal.find_commands("trip", ["m1", "m2", "m3"]))
        seen.append(await stores.catalog.unread_count("trip", head // 2))
    return seen


def assert_covered(rows: Sequence[Row], head: int) -> None:
    following = 1
    for row in rows:
        assert row.first_seq == following <= row.seq
        following = row.seq + 1
    assert following == head + 1


@settings(max_examples=60, deadline=None)
@given(script=steps)
def test_ranges_are_whole_and_both_stores_agree(script: Script) -> None:
    async def main() -> None:
        store = MemoryStore()
        in_memory = await play(Stores(store, store, store), script)
        with tempfile.TemporaryDirectory() as folder:
            async with sqlite_stores(Path(folder)) as stores:
                assert await play(stores, script) == in_memory

    trio.run(main)
