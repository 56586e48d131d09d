"""Statements that run at every look at a session must use their index, whatever the size of the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.schema import migrate
from storage.sqlite.connection import open_writer
from storage.tables import journal, sessions
from storage.tables.notifications import alerts, changes, deliveries

PLANS = [
    (journal._READ, "sqlite_autoindex_journal_1 (session_id=? AND seq>? AND seq<?)"),
    (journal._READ_NEWEST, "sqlite_autoindex_journal_1 (session_id=? AND seq>? AND seq<?)"),
    (journal._READ_MESSAGES, "journal_message (session_id=? AND seq>? AND seq<?)"),
    (journal._READ_MESSAGES_NEWEST, "journal_message (session_id=? AND seq>? AND seq<?)"),
    (journal._READ_KINDS, "sqlite_autoindex_journal_1 (session_id=? AND seq>? AND seq<?)"),
    (journal._READ_RARE, "journal_rare (session_id=? AND seq>? AND seq<?)"),
    (journal._READ_RARE_NEWEST, "journal_rare (session_id=? AND seq>? AND seq<?)"),
    (journal._FIRST_OF_TURNS, "journal_turn (session_id=? AND turn_id=?)"),
    (journal._FIRST_OF_TURNS, "journal_message (session_id=?)"),
    (sessions._UNREAD, "journal_message (session_id=? AND seq>?)"),
    (sessions._UNFINISHED, "summary_unfinished"),
    (sessions._PAGE, "session_by_activity"),
    (changes._PAGE_NOTABLE, "journal_notable (commit_no>? AND commit_no<?)"),
    (alerts._DUE, "alert_due (due_at_ms<?)"),
    (alerts._OPEN, "alert_open (session_id=?)"),
    (deliveries._DUE, "delivery_due (due_at_ms>?)"),
    (sessions._PAGE_BEFORE, "session_by_activity ((last_activity_ms,session_id)<(?,?))"),
]


_FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO journal (session_id, seq, first_seq, turn_id, kind, at_ms, searchable, payload)
SELECT 's' || i % 3, i, i, 't' || i / 40,
       CASE i % 40 WHEN 0 THEN 'user_message' WHEN 1 THEN 'turn_started' ELSE 'message' END, i, 0, x'00'
FROM n
"""
_FILL_SESSIONS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
INSERT INTO session (session_id, agent_type, device_id, settings, created_at_ms, last_activity_ms)
SELECT 's' || i, 'echo', 'd', x'00', i, i FROM n
"""


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize(("sql", "index"), PLANS)
def test_plan(sql: str, index: str, filled: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = open_writer(path)
    migrate(connection, path)
    if filled:  # with figures of what is stored SQLite may plan otherwise
        for statement in (_FILL, _FILL_SESSIONS, "ANALYZE"):
            connection.execute(statement)
    plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + sql, bindings(sql))]
    connection.close()
    assert any(index in line for line in plan), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan


def bindings(sql: str) -> tuple[str | int, ...]:
    numbered = [number for number in range(1, 6) if f"?{number}" in sql]
    return ("s", 1, 2, 3, "[]")[: max(numbered, default=sql.count("?"))]
