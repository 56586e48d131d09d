"""`builderos backup` and `restore`: a data folder as one file, and back; `copy-to`: into PostgreSQL."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs
import trio

from actors.hubs.processes import ProcessHubs
from actors.recovery import end_hubs, end_restored_sessions
from bridgehub.protocol.errors import unwrap
from builderos.client.terminal import one_line
from builderos.exit_status import OK, fail
from builderos.ids import new_id, wall_clock_ms
from builderos.options import as_path, checked_url
from builderos.server.process.socket_folder import find_socket_folder, tidy_socket_folder
from storage.backup.archive import KEY
from storage.backup.create import write_backup
from storage.backup.restore import check_backup, keep_aside, read_present, renew, unpack_backup
from storage.data_folder import (
    BLOBS_NAME,
    DATABASE_NAME,
    UPLOADS_NAME,
    DataFolder,
    open_data_folder,
    read_boot_id,
)
from storage.errors import StorageCorrupt, StorageError, StorageLocked, StorageUnavailable
from storage.permissions import open_private
from storage.postgres.home import refuse_other_database
from storage.sqlite.commit_mark import forget_noted_mark
from storage.sqlite.connection import named_os_errors
from storage.sqlite.replace import put_database, sync_folder
from storage.store import open_store
from storage.tables.audit import HEAD_NAME, read_noted_head
from storage.tables.devices import FIRST_DEVICE, DeviceRow
from storage.tables.hash_chain import Act, Mark

__all__ = ["add_backup", "add_copy_to", "add_restore", "run_backup", "run_restore"]

PASSING_NAME = "restore"
"""The staging folder of a restore, in the data folder; removed afterwards."""


def run_backup(file: Path, data: Path, *, now_ms: int) -> int:
    """Write a backup of `data` to `file`; return the exit status: 1 if an earlier `file` is unchanged."""
    try:
        refuse_other_database(
            data, "back that up with pg_dump, and `uploads` and `blobs` of the folder as files"
        )
        proof = write_backup(data, file, made_at=_iso(now_ms))
    except (StorageError, OSError) as error:
        return fail(f"nothing was backed up: {error}")
    sys.stdout.write(f"{_counted(proof.sessions)}, {proof.size / 1e6:.1f} MB in {file}\n")
    return OK


def run_restore(file: Path, data: Path, *, now_ms: int) -> int:
    """Restore `file` into `data`; return the exit status: 1 if nothing was changed.

    All or nothing: the database comes last, in one rename. The other files are named after their content or have unique
    names, so adding them first changes no existing file.
    """
    try:
        check_backup(file)  # before anything is changed or created
        refuse_other_database(data, "restore that with pg_restore")
        with open_data_folder(data) as folder:
            restored = _restore(file, folder, now_ms)
    except StorageLocked as error:
        return fail(f"{data} is in use by {error.holder}; stop that server first")
    except Exception as error:
        cause = unwrap(error)
        if not isinstance(cause, StorageError | OSError):
            raise
        return fail(f"nothing was restored: {cause}")
    kept = f"; the earlier database is now {restored.aside}" if restored.aside.exists() else ""
    sys.stdout.write(f"{_counted(restored.sessions)} from {file}{kept}\n")
    _say_who_may_enter(restored)
    return OK


def _say_who_may_enter(restored: _Restored) -> None:
    """Print which keys the restore made valid: one of them may have been revoked since the backup."""
    if restored.revived:
        named = ", ".join(
            f"{one_line(device.name)} ({device.id}, {device.scope})" for device in restored.revived
        )
        sys.stdout.write(
            f"These keys come from the backup and are valid now: {named}. One may have been revoked since the backup; "
            "to revoke it again: `builderos devices revoke ID`.\n"
        )
    if restored.needs_key:
        sys.stdout.write(
            "The folder has no api-key: the next start creates a new key for the first device.\n"
        )


@attrs.frozen
class _Restored:
    """The result of a restore.

    Attributes:
        aside: the path of the earlier database, if there was one.
        revived: devices with valid keys that the earlier database did not know, except the first device.
        needs_key: the first device has no key, because its file was removed from a folder in use.
    """

    sessions: int
    aside: Path
    revived: Sequence[DeviceRow]
    needs_key: bool


def _restore(file: Path, folder: DataFolder, now_ms: int) -> _Restored:
    passing = folder.path / PASSING_NAME
    with named_os_errors(passing):
        shutil.rmtree(passing, ignore_errors=True)  # left by a killed restore
        passing.mkdir(mode=0o700)
    try:
        copy = unpack_backup(file, passing)
        present = read_present(folder.database_path)
        with _doubtful_content(file):
            sessions = renew(copy, present, first_epoch=now_ms // 1000)
            known = frozenset[str]() if present is None else present.devices
            revived = trio.run(_settle, copy, read_noted_head(folder.path), known, now_ms)
        aside = folder.path / f"{DATABASE_NAME}.before-restore-{_stamp(now_ms)}"
        keep_aside(folder.database_path, aside, damaged=present is None)
        forget_noted_mark(folder.path)
        is_new = not folder.database_path.exists()
        _put_files(passing, folder, with_key=is_new)
        put_database(copy, folder.database_path)
        # After a kill before this is complete, the next start reports that the audit was replaced, which is
        # true.
        with open(folder.path / HEAD_NAME, "wb", opener=open_private) as note:
            note.write((passing / HEAD_NAME).read_bytes())
    finally:
        shutil.rmtree(passing, ignore_errors=True)
    trio.run(_end_hubs, folder)
    return _Restored(sessions, aside, revived, needs_key=folder.read_key() is None)


async def _settle(copy: Path, noted: Mark | None, known: Collection[str], now_ms: int) -> Sequence[DeviceRow]:
    """End what was open; record in the audit that it was replaced, and where it ended; its new end goes beside `copy`.

    The folder may be a copy, so it notifies a device only once that shows itself.

    Returns:
        The devices with valid keys that are not `known`; each has a row in the audit too.
    """
    subject = None if noted is None else str(noted)
    async with open_store(copy, boot_id=read_boot_id(), now_ms=wall_clock_ms()) as store:
        await store.notifications.channels.sleep()
        await end_restored_sessions(
            store.journal, store.ownership, store.catalog, now_ms=now_ms, new_id=new_id
        )
        good = [one for one in store.devices.list() if one.revoked_at_ms is None]
        revived = [one for one in good if one.id not in known and one.id != FIRST_DEVICE]
        acts = [("restored", subject), *(("device_restored", one.id) for one in revived)]
        await store.audit.append(
            [
                Act(at_ms=now_ms, act=act, device_id=FIRST_DEVICE, address="local", subject=what)
                for act, what in acts
            ]
        )
        return revived


@contextmanager
def _doubtful_content(file: Path) -> Iterator[None]:
    """Report an error that a file's content causes as damage of the file: a bare database has no checksums of its
    own."""
    try:
        yield
    except Exception as error:
        if isinstance(unwrap(error), StorageError | OSError):
            raise
        raise StorageCorrupt(f"{file}: a session in it cannot be read") from error


def _put_files(passing: Path, folder: DataFolder, *, with_key: bool) -> None:
    """Move uploads and blobs to their places; `with_key`: also the key, if the folder has none.

    If a folder in use has no key file, somebody removed it to revoke that key.
    """
    places = {folder.uploads_path, folder.blobs_path}
    for name in (UPLOADS_NAME, BLOBS_NAME):
        for path in sorted((passing / name).rglob("*")):
            target = folder.path / path.relative_to(passing)
            with named_os_errors(target):
                if path.is_dir():
                    target.mkdir(mode=0o700, exist_ok=True)
                else:
                    path.replace(target)
                    places.add(target.parent)
    for place in places:
        with named_os_errors(place):
            sync_folder(place)
    key = passing / KEY
    if with_key and key.exists() and folder.read_key() is None:
        with named_os_errors(folder.key_path):
            key.replace(folder.key_path)


async def _end_hubs(folder: DataFolder) -> None:
    """End the hubs of the earlier past. If this is killed, the next server does it first."""
    sockets = find_socket_folder(folder)
    hubs = ProcessHubs(folder.hubs_path, sockets)
    await end_hubs(hubs, [found.hub_id for found in await hubs.living()])
    left = {found.hub_id for found in await hubs.living() if found.alive}
    tidy_socket_folder(folder, sockets, left)


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="seconds")


def _stamp(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _counted(sessions: int) -> str:
    return f"{sessions} session" if sessions == 1 else f"{sessions} sessions"


def add_backup(parser: argparse.ArgumentParser) -> None:
    """Add the options of `backup`."""
    parser.epilog = "The server may be running. The file holds the first device's key: keep it safe."
    parser.add_argument(
        "file",
        type=as_path,
        metavar="FILE",
        help="output file; replaced only after the new backup is complete",
    )
    parser.set_defaults(run=_run_backup)


def _run_backup(arguments: argparse.Namespace) -> int:
    return run_backup(arguments.file, arguments.data, now_ms=wall_clock_ms())


def add_restore(parser: argparse.ArgumentParser) -> None:
    """Add the options of `restore`."""
    parser.epilog = "The server must not run. All or nothing; the old database is kept beside the new one."
    parser.add_argument(
        "file", type=as_path, metavar="FILE", help="backup file, as `builderos backup` writes it"
    )
    parser.set_defaults(run=_run_restore)


def _run_restore(arguments: argparse.Namespace) -> int:
    return run_restore(arguments.file, arguments.data, now_ms=wall_clock_ms())


def add_copy_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of `copy-to`."""
    parser.epilog = "Stop the server first. The SQLite file stays as it is; nothing uses it any more."
    parser.add_argument("url", metavar="URL", help="postgresql://role@host/name (without a password)")
    parser.set_defaults(run=_run_copy_to)


def _run_copy_to(arguments: argparse.Namespace) -> int:
    url, data = checked_url("URL", arguments.url), arguments.data
    try:
        refuse_other_database(data, "it was copied already")
        return _copy(url, data)
    except StorageLocked as error:
        return fail(f"{data} is in use by {error.holder}; stop that server first")
    except (StorageError, OSError) as error:
        return fail(f"nothing was copied: {error}")


def _copy(url: str, data: Path) -> int:
    try:
        from storage.postgres.connection import PostgresServer
        from storage.postgres.copy import copy_to_postgres
        from storage.postgres.opening import DatabaseOpening
    except ImportError as error:
        raise StorageUnavailable("psycopg is missing: pip install -r requirements-postgres.txt") from error
    with open_data_folder(data) as folder:
        if not folder.database_path.is_file():
            raise StorageUnavailable(f"{folder.database_path}: there is no database")
        server = PostgresServer.parse(url)
        opening = DatabaseOpening(server, "builderos copy-to", data, new_id(), False, False)
        copied = copy_to_postgres(folder.database_path, opening)
    sys.stdout.write(
        f"{copied.sessions} sessions with {copied.events} events are now in the {server.name}.\n"
        f"Start with: builderos serve --database {url}\n"
    )
    return OK
