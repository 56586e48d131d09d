"""What every `Catalog` must do; these checks join those of `journal_contract`."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from storage.errors import SessionExists
from storage.records import Head, SessionRecord, Summary
from tests.storage.journal_contract import CHECKS, Stores, check, entry, new_session, started, summary

__all__ = ["CHECKS"]


@check
async def a_new_session_is_as_it_was_asked_for(stores: Stores) -> None:
    made = await stores.catalog.create(new_session())
    expected = SessionRecord(
        "trip", "echo", "ipad", b'{"workspace":"w"}', 1_000, 1_000, 1, 0, 0, 0, None, 0, ""
    )
    assert made == expected
    assert await stores.catalog.get("trip") == expected
    assert await stores.journal.head("trip") == Head(1, 0)
    with pytest.raises(SessionExists):
        await stores.catalog.create(attrs.evolve(new_session(), agent_type="claude"))
    assert await stores.catalog.get("trip") == expected


@check
async def the_newest_offer_of_each_agent_is_remembered(stores: Stores) -> None:
    assert await stores.catalog.offer_of("echo") is None
    await stores.catalog.keep_offer("echo", b"one")
    await stores.catalog.keep_offer("claude", b"other")
    await stores.catalog.keep_offer("echo", b"two")
    assert await stores.catalog.offer_of("echo") == b"two"
    assert await stores.catalog.offer_of("claude") == b"other"


@check
async def a_summary_is_kept_with_the_head_that_it_was_written_at(stores: Stores) -> None:
    grant = await started(stores)
    given = summary(unfinished=True, state="running", snapshot=b"\x00" * 9_000)
    await stores.journal.append(
        grant, 0, [entry(at_ms=5_000), entry(at_ms=6_000)], summary=given, durable=True
    )
    await stores.journal.append(grant, 2, [entry(at_ms=7_000, kind="complete")], durable=False)
    record = await stores.catalog.get("trip")
    assert record is not None
    assert (record.summary, record.snapshot_seq, record.head_seq) == (given, 2, 3)
    assert (record.owner_epoch, record.last_activity_ms) == (1, 7_000)
    later = summary()
    assert await stores.journal.append(grant, 3, [], summary=later, durable=False) == 3
    record = await stores.catalog.get("trip")
    assert record is not None
    assert (record.summary, record.snapshot_seq, record.last_activity_ms) == (later, 3, 7_000)


@check
async def a_summary_without_a_snapshot_leaves_the_one_that_is_there(stores: Stores) -> None:
    grant = await started(stores)
    given = summary(unfinished=True, state="running", snapshot=b"\x00" * 9_000)
    await stores.journal.append(grant, 0, [entry()], summary=given, durable=True)
    later = Summary("a longer trip", "waiting", 4, 2, False, None, None, 18)
    await stores.journal.append(grant, 1, [entry()], summary=later, durable=False)
    record = await stores.catalog.get("trip")
    assert record is not None
    assert record.summary == attrs.evolve(later, snapshot=given.snapshot)
    assert record.snapshot_seq == 2
    assert list(await stores.catalog.unfinished()) == []
    assert list(await stores.catalog.page(10)) == [record]


@check
async def each_field_of_a_summary_may_change_alone(stores: Stores) -> None:
    grant = await started(stores)
    given = summary()
    await stores.journal.append(grant, 0, [entry()], summary=given, durable=True)
    changes: dict[str, Any] = {
        "hub_seq": given.hub_seq + 1,
        "title": "another trip",
        "state": "waiting",
        "message_count": 40,
        "pending_count": 7,
        "unfinished": not given.unfinished,
        "hub_id": "another hub",
        "due_at_ms": 5_000,
    }
    assert {field.name for field in attrs.fields(Summary)} == {*changes, "snapshot", "shown"}
    cleared: dict[str, Any] = {"hub_id": None, "due_at_ms": None}
    for seq, (name, value) in enumerate([*changes.items(), *cleared.items()], 1):
        given = attrs.evolve(given, **{name: value})
        bare = attrs.evolve(given, snapshot=None, shown=None)
        await stores.journal.append(grant, seq, [entry()], summary=bare, durable=False)
        record = await stores.catalog.get("trip")
        assert record is not None
        assert (record.summary, record.snapshot_seq) == (given, seq + 1)


@check
async def a_snapshot_that_is_not_there_cannot_stay(stores: Stores) -> None:
    grant = await started(stores)
    with pytest.raises(ValueError, match="no earlier snapshot"):
        await stores.journal.append(
            grant, 0, [entry()], summary=attrs.evolve(summary(), snapshot=None), durable=True
        )
    assert await stores.journal.head("trip") == Head(1, 0)
    assert list(await stores.journal.read("trip", 0, 10)) == []
    assert await stores.journal.append(grant, 0, [entry()], summary=summary(), durable=True) == 1


@check
async def only_more_than_pieces_is_activity(stores: Stores) -> None:
    grant = await started(stores, at_ms=1_000)

    async def activity() -> int:
        record = await stores.catalog.get("trip")
        assert record is not None
        return record.last_activity_ms

    pieces = [entry(at_ms=2_000), entry(at_ms=2_000, kind="thinking")]
    await stores.journal.append(grant, 0, pieces, durable=False)
    await stores.journal.append(grant, 2, [], summary=summary(), durable=False)
    assert await activity() == 1_000
    await stores.journal.append(
        grant, 2, [entry(at_ms=3_000), entry(at_ms=3_000, kind="complete")], durable=True
    )
    assert await activity() == 3_000


@check
async def unfinished_sessions_are_named(stores: Stores) -> None:
    grants = [await started(stores, name) for name in ("a", "b", "c")]
    for grant in grants[:2]:
        await stores.journal.append(grant, 0, [entry()], summary=summary(unfinished=True), durable=True)
    assert list(await stores.catalog.unfinished()) == ["a", "b"]
    await stores.journal.append(grants[0], 1, [], summary=summary(), durable=True)
    assert list(await stores.catalog.unfinished()) == ["b"]


@check
async def the_catalog_pages_by_activity_then_by_id(stores: Stores) -> None:
    for name, at_ms in (("a", 5), ("b", 9), ("c", 5), ("d", 7), ("e", 5)):
        await stores.catalog.create(new_session(name, at_ms))
    assert await stores.catalog.count() == 5
    seen: list[str] = []
    before: tuple[int, str] | None = None
    while page := await stores.catalog.page(2, before):
        assert len(page) <= 2
        seen += [record.session_id for record in page]
        before = (page[-1].last_activity_ms, page[-1].session_id)
    assert seen == ["b", "d", "e", "c", "a"]
    grant = await stores.ownership.acquire("a")
    await stores.journal.append(grant, 0, [entry(kind="complete", at_ms=11)], durable=False)
    assert [record.session_id for record in await stores.catalog.page(2)] == ["a", "b"]


@check
async def unread_counts_messages_and_answers(stores: Stores) -> None:
    grant = await started(stores)
    kinds = ["user_message", "turn_started", "message", "complete", "user_message"]
    await stores.journal.append(grant, 0, [entry(kind=kind) for kind in kinds], durable=False)
    assert [await stores.catalog.unread_count("trip", after) for after in (0, 1, 2, 4, 5)] == [3, 2, 1, 1, 0]


@check
async def notes_are_kept_and_a_read_mark_never_goes_back(stores: Stores) -> None:
    grant = await started(stores)
    await stores.catalog.note("trip", read_seq=7, draft="half a thou")
    await stores.catalog.note("trip", read_seq=3)
    await stores.catalog.note("trip", draft="half a thought")
    record = await stores.catalog.get("trip")
    assert record is not None
    assert (record.read_seq, record.draft, record.head_seq) == (7, "half a thought", 0)
    await stores.catalog.note("trip", read_seq=8, draft="")
    record = await stores.catalog.get("trip")
    assert record is not None
    assert (record.read_seq, record.draft) == (8, "")
    assert await stores.journal.append(grant, 0, [entry()], durable=False) == 1
