"""Restores databases: keeps the present one, and gives the sessions of the restored one a new epoch.

Everything here blocks, and is meant for a data folder that this process holds.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import attrs

from storage.backup.archive import BARE_MARK, check_archive, unpack_archive
from storage.backup.create import check_database
from storage.data_folder import DATABASE_NAME
from storage.errors import StorageBusy, StorageCorrupt, StorageError, StorageUnavailable, StorageVersion
from storage.schema import MIGRATIONS, copy_database
from storage.sqlite.connection import mapped_errors, named_os_errors, open_writer
from storage.sqlite.replace import sync_file, sync_folder

__all__ = ["Present", "check_backup", "keep_aside", "read_present", "renew", "unpack_backup"]

_PLACES = "SELECT session_id, epoch, owner_epoch FROM session"
_DEVICE = "id, name, scope, key_hash, created_at_ms, revoked_at_ms"
_DEVICES = f"SELECT {_DEVICE} FROM device"
_ALIAS_KEY = "SELECT value FROM meta WHERE key = 'app_alias_key'"
_KEEP_ALIAS_KEY = "INSERT INTO meta (key, value) VALUES ('app_alias_key', ?) ON CONFLICT (key) DO NOTHING"
_RENEW = """
UPDATE session SET epoch = max(epoch + 1, ?2), owner_epoch = max(owner_epoch + 1, ?3) WHERE session_id = ?1
"""
# Also a device that the backup does not know: a later restore may bring a backup that does.
_REVOKE = f"""
INSERT INTO device ({_DEVICE}) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET revoked_at_ms = coalesce(revoked_at_ms, excluded.revoked_at_ms)
"""
_HAS_TABLE = "SELECT count(*) FROM sqlite_schema WHERE name = ?"
_FORGET = {
    "pairing": "DELETE FROM pairing",
    "app_pair": "DELETE FROM app_pair",
    "app_known": "UPDATE app_known SET burnt = 1",
}
"""Things that give access and may have ended since: codes, and the iOS app's return without a key."""
_CLOSED_WELL = "INSERT OR REPLACE INTO meta (key, value) VALUES ('closed_well', '1')"


@attrs.frozen
class Present:
    """What the folder's own database knows and a backup cannot know.

    Attributes:
        places: by session, its epoch and how many owners it has had.
        devices: the ids of all devices that it knows, revoked ones too.
        revoked: the rows of those whose keys have ended.
        alias_key: what the aliases of the iOS app's ids are made with.
    """

    places: Mapping[str, tuple[int, int]] = attrs.field(factory=dict)
    devices: Collection[str] = frozenset()
    revoked: Sequence[tuple[str | int | bytes, ...]] = ()
    alias_key: str | None = attrs.field(default=None, repr=False)


def check_backup(file: Path) -> None:
    """Check that `file` is a whole backup, or a sound database that nobody has open. Reads it once; writes nothing.

    Raises:
        StorageCorrupt, StorageVersion: it cannot be restored.
        StorageUnavailable: it cannot be read.
    """
    if _is_bare(file):
        _check_version(file, check_database(file))
    else:
        proof = check_archive(file)
        _check_version(file, proof.schema)


def unpack_backup(file: Path, folder: Path) -> Path:
    """Unpack `file` below `folder`; return its database there, checked. Raises as `check_backup`."""
    database = folder / DATABASE_NAME
    if _is_bare(file):
        with named_os_errors(database):
            shutil.copyfile(file, database)
            database.chmod(0o600)
    else:
        unpack_archive(file, folder)
        if not database.exists():
            raise StorageCorrupt(f"{file}: the backup has no database")
    _check_version(file, check_database(database))
    return database


def read_present(database: Path) -> Present | None:
    """Return what the folder's own database knows; None if it is damaged. Empty if there is none.

    Raises:
        StorageUnavailable: it cannot be read now.
    """
    if not database.exists():
        return Present()
    with named_os_errors(database):
        if not _is_sqlite(database):
            return None  # not even opened: SQLite would remove its WAL
    try:
        connection = open_writer(database)
        try:
            with mapped_errors(database):
                places = {
                    session_id: (epoch, owners) for session_id, epoch, owners in connection.execute(_PLACES)
                }
                devices = list(connection.execute(_DEVICES))
                revoked = [row for row in devices if row[-1] is not None]
                alias_key = connection.execute(_ALIAS_KEY).get
                return Present(places, frozenset(row[0] for row in devices), revoked, alias_key)
        finally:
            connection.close()
    except StorageUnavailable:
        raise
    except StorageError:
        return None


def keep_aside(database: Path, aside: Path, *, damaged: bool) -> None:
    """Keep the present database as `aside`, and leave it without a WAL. Does nothing if there is none.

    A damaged one is kept byte for byte, with the files beside it.

    Raises:
        StorageBusy: another program has it open.
        StorageUnavailable: it could not be kept; the database is as it was.
    """
    if not database.exists():
        return
    beside = [database.with_name(database.name + end) for end in ("-wal", "-shm")]
    with named_os_errors(aside):
        if damaged:
            for path in (database, *beside):
                if path.exists():
                    kept = aside.with_name(aside.name + path.name.removeprefix(database.name))
                    shutil.copyfile(path, kept)
                    kept.chmod(0o600)
                    sync_file(kept)
        else:
            _copy(database, aside)
            sync_file(aside)
        sync_folder(aside.parent)
        if damaged:
            for path in beside:  # else it would be taken for the WAL of the restored one
                path.unlink(missing_ok=True)
        elif beside[0].exists():
            aside.unlink()
            raise StorageBusy(f"{database}: another program has it open; close that program first")


def renew(database: Path, present: Present | None, *, first_epoch: int) -> int:
    """Give each session an epoch and an owner's number that it has never had; return how many sessions there are.

    Each is one more than the larger of those in the backup and in the folder. For a session that the folder does not
    know, nobody can tell how far its other past had come: it gets at least `first_epoch`. A device revoked since stays
    revoked. Codes that make a device end, and so does the iOS app's return without a key.

    Raises:
        StorageError: the database failed.
    """
    known = present or Present()
    connection = open_writer(database)
    try:
        with mapped_errors(database):
            sessions = [session_id for (session_id,) in connection.execute("SELECT session_id FROM session")]
            connection.execute("BEGIN IMMEDIATE")
            for session_id in sessions:
                epoch, owners = known.places.get(session_id, (first_epoch - 1, 0))
                connection.execute(_RENEW, (session_id, epoch + 1, owners + 1))
            for row in known.revoked:
                connection.execute(_REVOKE, row)
            if known.alias_key is not None:
                connection.execute(_KEEP_ALIAS_KEY, (known.alias_key,))
            for table, forget in _FORGET.items():
                if connection.execute(_HAS_TABLE, (table,)).get:
                    connection.execute(forget)
            connection.execute(_CLOSED_WELL)  # a backup is complete, whatever its server was doing
            connection.execute("COMMIT")
    finally:
        connection.close()
    return len(sessions)


def _is_bare(file: Path) -> bool:
    with named_os_errors(file):
        bare = _is_sqlite(file)
    if bare and file.with_name(file.name + "-wal").exists():
        raise StorageBusy(f"{file}: this database is in use; make a backup of it with `builderos backup`")
    return bare


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(BARE_MARK)) == BARE_MARK


def _check_version(file: Path, version: int) -> None:
    if not 1 <= version <= len(MIGRATIONS):
        raise StorageVersion(f"{file}: version {version}, but this program reads 1 to {len(MIGRATIONS)}")


def _copy(database: Path, aside: Path) -> None:
    connection = open_writer(database)
    try:
        copy_database(connection, aside)
    finally:
        connection.close()
