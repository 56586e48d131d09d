"""However a conversation comes in, in whatever parts and order: each message once, in the order of time.

And the journal stays a journal: ranges without a gap, a state that a reload gives again, no turn left open.
"""

from __future__ import annotations

import tempfile
from datetime import UTC
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.events.codec import decode_row
from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import TurnStarted, UserMessage
from actors.session.loading import load_state
from builderos.legacy.plan import plan_session
from builderos.legacy.writer import SessionWriter
from storage.legacy_database import OldMessage, OldSession
from storage.store import Store, open_store

TALK = tuple(
    OldMessage(role, f"{role} {number}", f"2025-11-03T09:{number:02d}:00")
    for number, role in enumerate(
        ("user", "assistant", "user", "user", "assistant", "assistant", "user", "assistant")
    )
)

PARTS = st.lists(st.sets(st.integers(0, len(TALK) - 1), min_size=1), min_size=1, max_size=4)


def copy_of(numbers: set[int]) -> OldSession:
    messages = tuple(TALK[number] for number in sorted(numbers))
    return OldSession("trip", "claude", "phone", "2025-11-03T08:00:00", "", messages)


async def journal_of(store: Store) -> list[Committed]:
    found: list[Committed] = []
    while rows := await store.journal.read("trip", found[-1].seq if found else 0, 500):
        found += [decode_row(row) for row in rows]
    return found


async def import_parts(parts: list[set[int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with open_store(Path(name) / "x.db", boot_id="boot") as store:
            writer = SessionWriter(store, Path("/"))
            known: set[int] = set()
            for part in (*parts, *parts):
                done = await writer.write(plan_session([copy_of(part)], UTC))
                assert (done.added, done.known) == (len(part - known), len(part & known))
                known |= part
            await check(store, known)
            assert await store.catalog.get("~aside") is None


async def check(store: Store, known: set[int]) -> None:
    journal = await journal_of(store)
    assert [item.first_seq for item in journal] == [1, *(item.seq + 1 for item in journal[:-1])]
    asked = [item.event.content for item in journal if isinstance(item.event, UserMessage)]
    wanted = [TALK[number] for number in sorted(known)]
    assert asked == [one.content for one in wanted if one.role == "user"]
    entries = [item for item in journal if isinstance(item.event, UserMessage | TurnStarted)]
    assert [item.at_ms for item in entries] == sorted(item.at_ms for item in entries)
    assert len(entries) == len(wanted)
    ends = [item.turn_id for item in journal if item.event.kind in TURN_ENDS]
    assert ends == [item.turn_id for item in journal if isinstance(item.event, TurnStarted)]
    record, state = await load_state(store.catalog, store.journal, "trip")
    assert (record.head_seq, state.message_count) == (journal[-1].seq, len(wanted))
    assert record.read_seq == record.head_seq
    assert state.turn is None
    assert not state.queue
    kept = await store.catalog.get("trip")
    assert kept is not None
    assert kept.summary is not None
    assert not kept.summary.unfinished
    assert (await store.journal.head("trip")).epoch == record.epoch == state.epoch


@settings(max_examples=40, deadline=None)
@given(PARTS)
def test_any_parts_in_any_order(parts: list[set[int]]) -> None:
    trio.run(import_parts, parts)
