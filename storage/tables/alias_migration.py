"""Replaces the iOS app's own ids by their aliases in a database of an earlier version (`storage.aliases`).

One pass over the tables, in the transaction of the migration. Rows of the audit stay as they are: their hashes cover
the ids, and only the owner of the data folder reads them. `app_known` records, by alias, the ids that were readable
until now. If a key is revoked whose holder may have read them, they no longer open anything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw
import orjson

from storage.aliases import Aliases, is_app_session, read_aliases
from storage.data_folder import blob_folder
from storage.transaction import Transaction

__all__ = ["alias_app_ids", "note_known"]

_PREPARE = """
INSERT INTO meta (key, value) VALUES ('app_alias_key', hex(randomblob(32))) ON CONFLICT (key) DO NOTHING;

-- Sessions whose own ids were stored as they are, before there were aliases. `blobs` is the folder that their long
-- texts lay in. A burnt one opens nothing without a key.
CREATE TABLE app_known (
  session_id TEXT PRIMARY KEY,
  blobs      TEXT NOT NULL,
  burnt      INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
"""

_SESSION_TABLES: Final = ("session", "removal", "summary", "draft", "journal", "command", "upload_use")
"""Tables whose `session_id` has an index: each session is renamed by itself. The search index takes one pass."""

_SESSIONS = "SELECT session_id, created_at_ms FROM session UNION SELECT session_id, 0 FROM removal"
_PAIRED = "SELECT session_id FROM app_pair UNION SELECT session_id FROM app_exchange"
_AUDITED = "SELECT DISTINCT session_id FROM audit WHERE session_id IS NOT NULL"
_REVOKED = "SELECT max(revoked_at_ms) FROM device"
_KNOWN = (
    "INSERT INTO app_known (session_id, blobs, burnt) VALUES (?, ?, ?) ON CONFLICT (session_id) DO NOTHING"
)
_LABELS = "SELECT label FROM label UNION SELECT device_id FROM session"
_SNAPSHOTS = "UPDATE summary SET snapshot = app_snapshot(snapshot)"

_SCAN = """
UPDATE journal SET device_id = app_device(device_id) WHERE device_id <> app_device(device_id);
UPDATE journal SET payload = app_event(payload) WHERE kind IN ('permission_resolved', 'interrupted', 'session_updated');
UPDATE search SET session_id = app_session(session_id) WHERE session_id <> app_session(session_id);
UPDATE session SET device_id = app_device(device_id);
UPDATE label SET label = app_device(label);
UPDATE notification SET device_id = app_device(device_id);
DELETE FROM app_pair WHERE session_id = app_session(session_id) OR device_id = app_device(device_id);
UPDATE app_pair SET session_id = app_session(session_id), device_id = app_device(device_id);
UPDATE app_exchange SET session_id = app_session(session_id), device_id = app_device(device_id);
"""

_FUNCTIONS: Final = ("app_session", "app_device", "app_snapshot", "app_event")


def alias_app_ids(connection: apsw.Connection) -> None:
    """Replace all ids, inside the transaction that the caller began."""
    connection.execute(_PREPARE)
    aliases = read_aliases(connection)
    labels = [label for (label,) in connection.execute(_LABELS)]
    raw = {label: alias for label in labels if (alias := aliases.device(label)) != label}
    _note_known(connection, aliases)
    made: list[Callable[..., Any]] = [
        aliases.session,
        lambda label: None if label is None else aliases.device(label),
        lambda payload: _replaced(payload, raw),
        lambda payload: _resolved(payload, aliases),
    ]
    for name, function in zip(_FUNCTIONS, made, strict=True):
        connection.create_scalar_function(name, function, 1, deterministic=True)
    try:
        if raw:  # else the app's ids were never used here
            connection.execute(_SNAPSHOTS)
        _rename_sessions(connection, aliases)
        connection.execute(_SCAN)
    finally:
        for name in _FUNCTIONS:
            connection.create_scalar_function(name, None, 1)


def note_known(session_id: str, connection: Transaction) -> None:
    """Record one session whose own id was readable before this migration; any other id is left alone."""
    if is_app_session(session_id):
        alias = read_aliases(connection).session(session_id)
        connection.execute(_KNOWN, (alias, blob_folder(Path(), session_id).name, 0))


def _note_known(connection: apsw.Connection, aliases: Aliases) -> None:
    revoked_at_ms = connection.execute(_REVOKED).get or -1
    created = {name: at_ms for name, at_ms in connection.execute(_SESSIONS) if is_app_session(name)}
    paired = [name for (name,) in connection.execute(_PAIRED) if is_app_session(name)]
    gone = [name for (name,) in connection.execute(_AUDITED) if is_app_session(name)]
    for name in dict.fromkeys([*created, *paired, *gone]):
        # A removed session has no time: the holder of any revoked key may have read it.
        burnt = created.get(name, 0) <= revoked_at_ms or (name in gone and name not in created)
        blobs = blob_folder(Path(), name).name
        connection.execute(_KNOWN, (aliases.session(name), blobs, int(burnt)))


def _rename_sessions(connection: apsw.Connection, aliases: Aliases) -> None:
    for session_id in [name for (name, _) in connection.execute(_SESSIONS) if is_app_session(name)]:
        for table in _SESSION_TABLES:
            connection.execute(
                f"UPDATE {table} SET session_id = ?2 WHERE session_id = ?1",
                (session_id, aliases.session(session_id)),
            )


def _replaced(payload: bytes, raw: dict[str, str]) -> bytes:
    """Return a snapshot with every label that is one of the app's ids replaced, in values and keys."""
    return orjson.dumps(_walk(orjson.loads(payload), raw))


def _walk(value: Any, raw: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {_words(key, raw): _walk(item, raw) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, raw) for item in value]
    return raw.get(value, value) if isinstance(value, str) else value


def _words(key: str, raw: dict[str, str]) -> str:
    """Return a key with its labels replaced: one key may be several labels, separated by a blank."""
    return " ".join(raw.get(word, word) for word in key.split(" "))


def _resolved(payload: bytes, aliases: Aliases) -> bytes:
    """Return an event's payload with the device that decided replaced, wherever the payload names one."""
    if b'"by_device"' not in payload:
        return payload
    return orjson.dumps(_by_alias(orjson.loads(payload), aliases))


def _by_alias(value: Any, aliases: Aliases) -> Any:
    if isinstance(value, list):
        return [_by_alias(item, aliases) for item in value]
    if not isinstance(value, dict):
        return value
    by_device = value.get("by_device")
    renamed = {"by_device": aliases.device(by_device)} if isinstance(by_device, str) else {}
    return {name: _by_alias(item, aliases) for name, item in value.items()} | renamed
