"""The audit's chain: what was changed, left out, put in or cut off is seen."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import apsw
import attrs
import pytest
import trio

from storage.sqlite.readers import Readers
from storage.tables import audit as audit_module
from storage.tables.audit import HEAD_NAME, Audit, verify_audit
from storage.tables.hash_chain import START, Act, AuditRow, Mark, check_chain, hash_of_row
from tests.storage.stores import opened

LIMIT_S = 30.0


def act(number: int) -> Act:
    return Act(at_ms=1000 + number, act="signed_in", device_id=f"d{number}", address="203.0.113.7")


def chain(count: int, before: Mark = START) -> list[AuditRow]:
    rows, last = [], before
    for number in range(before.number + 1, before.number + 1 + count):
        digest = hash_of_row(last.hash, number, act(number))
        rows.append(AuditRow(number, act(number), digest))
        last = Mark(number, digest)
    return rows


def mark(row: AuditRow) -> Mark:
    return Mark(row.number, row.hash)


def test_a_whole_chain_has_no_fault() -> None:
    rows = chain(5)
    assert check_chain(rows, START, mark(rows[-1])) == []
    assert check_chain(rows, START, mark(rows[2])) == [], "the note may be a little behind"
    assert check_chain(rows[2:], mark(rows[1]), mark(rows[-1])) == []
    assert check_chain([], START, None) == check_chain([], START, START) == []


CHANGES: tuple[dict[str, object], ...] = (
    {"at_ms": 1},
    {"act": "x"},
    {"device_id": None},
    {"address": "x"},
    {"session_id": "x"},
    {"subject": "x"},
    {"count": 2},
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_a_changed_row(change: dict[str, object]) -> None:
    rows = chain(4)
    rows[1] = attrs.evolve(rows[1], act=attrs.evolve(rows[1].act, **change))  # type: ignore[arg-type]
    assert check_chain(rows, START, None) == ["row 2 was changed, or one before it"]


def test_every_field_is_covered() -> None:
    assert {name for change in CHANGES for name in change} == {field.name for field in attrs.fields(Act)}


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda rows: rows.pop(1), "rows 2 to 2 are missing"),
        (lambda rows: rows.pop(0), "rows 1 to 1 are missing"),
        (lambda rows: rows.pop(), "it ends at row 4, but row 5 was recorded as written"),
        (lambda rows: rows.clear(), "it ends at row 0, but row 5 was recorded as written"),
    ],
)
def test_missing_rows(spoil: Callable[[list[AuditRow]], object], fault: str) -> None:
    rows = chain(5)
    noted = mark(rows[-1])
    spoil(rows)
    assert check_chain(rows, START, noted) == [fault]


def test_a_chain_that_was_counted_again_is_another_one() -> None:
    noted = mark(chain(3)[-1])
    forged, last = [], START
    for number in range(1, 4):
        made = Act(at_ms=number, act="nothing happened")
        last = Mark(number, hash_of_row(last.hash, number, made))
        forged.append(AuditRow(number, made, last.hash))
    assert check_chain(forged, START, noted) == ["row 3 is not the one that was recorded"]


def test_a_row_forged_with_its_own_hash_is_found() -> None:
    rows = chain(4)
    made = Act(at_ms=1, act="nothing happened")
    rows[1] = AuditRow(2, made, hash_of_row(rows[0].hash, 2, made))
    assert check_chain(rows, START, None) == ["row 3 was changed, or one before it"]


@pytest.mark.parametrize(
    "text", ["", "5", "5:xy", "x:" + "0" * 64, "5:00", "-1:" + "0" * 64, "9" * 30 + ":" + "0" * 64]
)
def test_what_is_no_mark(text: str) -> None:
    assert Mark.parse(text) is None
    assert Mark.parse(f"{Mark(7, bytes(32))}\n") == Mark(7, bytes(32))


async def test_rows_are_chained_over_restarts_and_the_end_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    for start in range(3):
        async with opened(path) as store:
            await store.audit.check_head(now_ms=1)
            await store.audit.append([act(2 * start), act(2 * start + 1)])
            assert await store.audit.verify() == []
            rows = await store.audit.page(0)
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.act for row in rows] == [act(number) for number in range(6)]
    assert (tmp_path / HEAD_NAME).read_text() == f"6:{rows[-1].hash.hex()}\n"
    assert stat.S_IMODE((tmp_path / HEAD_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("UPDATE audit SET address = '198.51.100.1' WHERE number = 2", "row 2 was changed"),
        ("DELETE FROM audit WHERE number = 2", "rows 2 to 2 are missing"),
        ("DELETE FROM audit WHERE number >= 3", "it ends at row 2, but row 4 was recorded"),
        ("DELETE FROM audit", "it ends at row 0, but row 4 was recorded"),
        ("UPDATE meta SET key = 'x' WHERE key = 'boot_id'", ""),
    ],
)
async def test_what_somebody_did_to_the_table_is_found(tmp_path: Path, sql: str, fault: str) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.audit.append([act(number) for number in range(4)])
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    found = verify_audit(tmp_path, connection)
    connection.close()
    assert [text.startswith(fault) for text in found] == ([True] if fault else [])


async def test_a_cut_end_becomes_a_row_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.audit.append([act(number) for number in range(4)])
        noted = (await store.audit.page(3))[0]
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM audit WHERE number >= 3")
    connection.close()
    async with opened(path) as store:
        await store.audit.check_head(now_ms=77)
        told = (await store.audit.page(2))[0].act
        assert told == Act(at_ms=77, act="audit_cut", subject=str(mark(noted)))
        await store.audit.check_head(now_ms=78)
        assert len(await store.audit.page(0)) == 3, "it is told once"


async def test_a_note_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.audit.append([act(1)])
        (tmp_path / HEAD_NAME).unlink()
        assert "missing" in (await store.audit.verify())[0]


async def test_the_oldest_rows_go_and_the_chain_still_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "MAX_ROWS", 20)
    monkeypatch.setattr(audit_module, "SPARE_ROWS", 5)
    path = tmp_path / "x.db"
    async with opened(path) as store:
        for number in range(60):
            await store.audit.append([act(number)])
            assert len(await store.audit.page(0)) <= 20
        assert await store.audit.verify() == []
        rows = await store.audit.page(0)
        assert rows[-1].number == 60
        assert rows[0].number == (await store.audit.base()).number + 1 > 40
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM audit WHERE number <= 50")
    assert verify_audit(tmp_path, connection) == [f"rows {rows[0].number} to 50 are missing"]
    connection.close()


async def test_an_act_and_its_row_are_one(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        devices = store.devices
        await devices.add(name="n", scope="view", key="k", device_id="d", now_ms=1, noted=[act(1)])
        assert await devices.revoke("nobody", now_ms=2, noted=[act(2)]) is False
        assert await devices.revoke("d", now_ms=2, noted=[act(3)]) is True
        assert await devices.revoke("d", now_ms=2, noted=[act(4)]) is False
        assert [row.act for row in await store.audit.page(0)] == [act(1), act(3)]


async def test_an_end_that_cannot_be_read_back_undoes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path / "x.db") as store:
        blind = Audit(tmp_path, store.audit._writer, Readers(tmp_path / "nowhere.db"))
        await blind.append([act(1)])
        assert [row.act for row in await store.audit.page(0)] == [act(1)]
    assert "cannot record its end" in caplog.text


async def test_an_upload_is_either_cancelled_or_stored(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        audit, returned = store.audit, trio.Event()

        async def append() -> None:
            await audit.append([act(1)])
            returned.set()

        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                await audit._noting.acquire()
                nursery.start_soon(append)
                while not await audit.page(0):  # noqa: ASYNC110 - another thread writes it
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
                audit._noting.release()
        assert returned.is_set()
