"""The tables, and their migrations: forward only, with a copy made before."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw

from storage.errors import StorageCorrupt, StorageVersion
from storage.sqlite.connection import APPLICATION_ID, mapped_errors, named_os_errors
from storage.tables.alias_migration import alias_app_ids
from storage.tables.app_exchanges import APP_SCHEMA
from storage.tables.audit import AUDIT_SCHEMA
from storage.tables.notifications.changes import NOTABLE_SCHEMA
from storage.tables.notifications.schema import ALERT_SCHEMA, CHANNEL_SCHEMA
from storage.tables.pairings import PAIRING_SCHEMA

__all__ = ["MIGRATIONS", "Migration", "copy_database", "migrate"]

Migration = str | Callable[[apsw.Connection], None]
"""A script, or a Python function for more complex steps; both run in the step's transaction."""

_V1 = """
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Every append updates its session's row, so what is large or seldom changes lies in tables of its own.
CREATE TABLE session (
  session_id       TEXT PRIMARY KEY,
  owner            TEXT NOT NULL DEFAULT 'self',
  agent_type       TEXT NOT NULL,
  device_id        TEXT NOT NULL,
  settings         BLOB NOT NULL,
  created_at_ms    INTEGER NOT NULL,
  last_activity_ms INTEGER NOT NULL,
  epoch            INTEGER NOT NULL DEFAULT 1,
  owner_epoch      INTEGER NOT NULL DEFAULT 0,
  head_seq         INTEGER NOT NULL DEFAULT 0,
  read_seq         INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_activity ON session (last_activity_ms, session_id);

-- Sessions that are gone for good and still have rows to be removed: a long history goes in small pieces.
CREATE TABLE removal (
  session_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE summary (
  session_id    TEXT PRIMARY KEY,
  snapshot_seq  INTEGER NOT NULL,
  title         TEXT NOT NULL,
  state         TEXT NOT NULL,
  message_count INTEGER NOT NULL,
  pending_count INTEGER NOT NULL,
  unfinished    INTEGER NOT NULL,
  hub_id        TEXT,
  hub_seq       INTEGER NOT NULL,
  snapshot      BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX summary_unfinished ON summary (session_id) WHERE unfinished = 1;

CREATE TABLE draft (
  session_id TEXT PRIMARY KEY,
  content    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row covers first_seq to seq. The rows of all sessions lie in the order of their commits: an append then
-- touches the same few pages whatever session it is of. Clustered by session, one was seen to write twice the
-- pages to the WAL, and half as many large rows a second; only the reading of small rows was faster.
CREATE TABLE journal (
  commit_no  INTEGER PRIMARY KEY,
  session_id TEXT NOT NULL,
  seq        INTEGER NOT NULL,
  first_seq  INTEGER NOT NULL,
  turn_id    TEXT,
  kind       TEXT NOT NULL,
  device_id  TEXT,
  at_ms      INTEGER NOT NULL,
  searchable INTEGER NOT NULL,
  payload    BLOB NOT NULL,
  UNIQUE (session_id, seq)
) STRICT;

-- These kinds are named here only to keep two indexes small; storage gives them no other meaning. The first
-- two are what a list of messages is made of. The last two are the pieces of an answer: by far the most rows,
-- and never the first of their turn.
CREATE INDEX journal_message ON journal (session_id, seq)
  WHERE kind IN ('user_message', 'turn_started');
CREATE INDEX journal_turn ON journal (session_id, turn_id, seq)
  WHERE kind NOT IN ('message', 'thinking');

CREATE TABLE command (
  session_id TEXT NOT NULL,
  command_id TEXT NOT NULL,
  seq        INTEGER NOT NULL,
  state      TEXT NOT NULL,
  PRIMARY KEY (session_id, command_id)
) STRICT, WITHOUT ROWID;

-- Its rowid is the commit_no of the journal row that it was made from.
CREATE VIRTUAL TABLE search USING fts5 (session_id UNINDEXED, seq UNINDEXED, kind UNINDEXED, text);

CREATE TABLE device (
  id            TEXT PRIMARY KEY,
  name          TEXT NOT NULL,
  scope         TEXT NOT NULL,
  key_hash      BLOB NOT NULL,
  created_at_ms INTEGER NOT NULL,
  revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE label (
  label     TEXT PRIMARY KEY,
  device_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX label_by_device ON label (device_id);

-- For people with the sqlite3 program.
CREATE VIEW sessions (session_id, agent_type, device_id, created_at, last_activity) AS
  SELECT session_id, agent_type, device_id,
         strftime('%Y-%m-%dT%H:%M:%fZ', created_at_ms / 1000.0, 'unixepoch'),
         strftime('%Y-%m-%dT%H:%M:%fZ', last_activity_ms / 1000.0, 'unixepoch')
  FROM session;
"""

_V3 = """
-- A file lies under its name in the folder of uploads. A doomed one is on its way out, with its session.
CREATE TABLE upload (
  name          TEXT PRIMARY KEY,
  filename      TEXT NOT NULL,
  mime_type     TEXT NOT NULL,
  type          TEXT NOT NULL,
  size          INTEGER NOT NULL,
  url           TEXT NOT NULL,
  device_id     TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  doomed        INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Which sessions have a file in a message: it goes with the last of them.
CREATE TABLE upload_use (
  session_id TEXT NOT NULL,
  name       TEXT NOT NULL,
  PRIMARY KEY (session_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_use_by_name ON upload_use (name);

-- Where a notification for a device would go. The key that registered it is its owner.
CREATE TABLE notification (
  device_token     TEXT PRIMARY KEY,
  platform         TEXT NOT NULL,
  device_id        TEXT NOT NULL,
  owner            TEXT NOT NULL,
  registered_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notification_by_owner ON notification (owner, registered_at_ms);
"""

_OFFERS = """
-- What each agent last told that it offers.
CREATE TABLE agent_offer (
  agent_type TEXT PRIMARY KEY,
  offer      BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""

_RARE_KINDS = """
-- For reads that look for one of these kinds: without it they would pass every row of a long session. `kind` is
-- part of the index, so that only the rows that are wanted are read.
CREATE INDEX journal_rare ON journal (session_id, seq, kind)
  WHERE kind IN ('user_message', 'task_started', 'task_finished', 'permission_requested', 'permission_resolved');
"""

_LISTS = """
-- Where a session stands in lists, what else these show, and when it is to be looked after although nobody asks.
ALTER TABLE summary ADD COLUMN shown BLOB;
ALTER TABLE session ADD COLUMN workspace TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
UPDATE session SET workspace = coalesce(json_extract(CAST(settings AS TEXT), '$.workspace'), '')
  WHERE json_valid(CAST(settings AS TEXT));
ALTER TABLE summary ADD COLUMN due_at_ms INTEGER;
CREATE INDEX summary_due ON summary (due_at_ms) WHERE due_at_ms IS NOT NULL;
"""

MIGRATIONS: tuple[Migration, ...] = (
    _V1,
    APP_SCHEMA,
    _V3,
    PAIRING_SCHEMA + AUDIT_SCHEMA,
    _OFFERS + _RARE_KINDS + _LISTS,
    alias_app_ids,
    NOTABLE_SCHEMA + CHANNEL_SCHEMA + ALERT_SCHEMA,
)
"""Step n leads from version n to n + 1. Never change a step that was released: add another."""

_OBJECTS = "SELECT count(*) FROM sqlite_schema"


def migrate(connection: apsw.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Bring the database to the newest version, each step in one transaction; return whether it was created now.

    Before each step from a version that has data, a copy `NAME.before-vN` is made beside it (N is the version that the
    step leads to).

    Raises:
        StorageVersion: a newer program wrote it.
        StorageCorrupt: it is another program's database, or damaged.
        StorageUnavailable: it or its copy cannot be written.
    """
    with mapped_errors(path):
        version = int(connection.pragma("user_version"))
        if version > len(migrations):
            raise StorageVersion(f"{path}: version {version} is newer than this program ({len(migrations)})")
        _check_ours(connection, path, version)
        for number, migration in enumerate(migrations[version:], start=version + 1):
            if version > 0:
                copy_database(connection, path.with_name(f"{path.name}.before-v{number}"))
            _step(connection, number, migration)
    return version == 0


def _check_ours(connection: apsw.Connection, path: Path, version: int) -> None:
    is_empty = version == 0 and connection.execute(_OBJECTS).get == 0
    if not is_empty and connection.pragma("application_id") != APPLICATION_ID:
        raise StorageCorrupt(f"{path}: this is not a database of this program")


def _step(connection: apsw.Connection, number: int, migration: Migration) -> None:
    connection.pragma("synchronous", "full")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if isinstance(migration, str):
            connection.execute(migration)
        else:
            migration(connection)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", number)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.pragma("synchronous", "normal")


def copy_database(connection: apsw.Connection, target: Path) -> None:
    """Write one committed state of the database to `target`, mode 0600, replacing the file there.

    The copy first has a temporary name, so a file with the final name is complete.
    """
    partial = target.with_name(target.name + ".partial")
    with named_os_errors(target), mapped_errors(target):
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            connection.execute("VACUUM INTO ?", (str(partial),))
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
