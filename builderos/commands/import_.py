"""`builderos import`: imports the old server's sessions, all of them or none.

Nothing is written into the database itself. It is copied, the import writes into the copy, and the copy replaces the
database in one rename once it is complete and on disk. So an import that is interrupted, even by kill -9, changes
nothing. A dry run is the same import that drops its copy.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import zoneinfo
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import tzinfo
from pathlib import Path

import attrs
import trio

from bridgehub.protocol.errors import unwrap
from builderos.exit_status import MISUSED, OK, fail
from builderos.ids import wall_clock_ms
from builderos.legacy.plan import plan_session
from builderos.legacy.report import Progress, report
from builderos.legacy.writer import Imported, SessionBusyError, SessionWriter
from builderos.options import UsageError, as_path
from storage.data_folder import DATABASE_NAME, open_data_folder, read_boot_id
from storage.errors import StorageError, StorageLocked
from storage.legacy_database import OldDatabase, OldSession, OldSessionBroken, open_old_database
from storage.postgres.home import refuse_other_database
from storage.schema import copy_database
from storage.sqlite.connection import named_os_errors, open_writer
from storage.sqlite.replace import put_database
from storage.store import open_store

__all__ = ["ImportOptions", "add_import", "run_import"]

AHEAD_MS = 24 * 60 * 60 * 1000
"""How far ahead of this machine's clock a message's time may be; a later one is a mistake."""

PASSING_NAME = "import"
"""The staging folder of an import, in the data folder; removed afterwards."""


@attrs.frozen(kw_only=True)
class ImportOptions:
    """The options of `builderos import`. `zone`: None is this machine's own; `skip_bad`: leave out what cannot be read."""

    files: tuple[Path, ...]
    data: Path
    workspace: Path
    zone: str | None
    dry_run: bool
    skip_bad: bool = False


def run_import(options: ImportOptions) -> int:
    """Import the files; return the exit status: 0 done, 1 nothing was changed, 2 the zone does not exist."""
    try:
        zone = None if options.zone is None else zoneinfo.ZoneInfo(options.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return fail(f"--zone: {options.zone!r} is not a time zone like Europe/Berlin", MISUSED)
    try:
        refuse_other_database(options.data, "import into another data folder")
        with _open_place(options) as (database, passing):
            imported, left_out, bad = _import(options, zone, database, passing)
    except StorageLocked as error:
        return fail(f"{options.data} is in use by {error.holder}; stop that server first")
    except Exception as error:
        cause = unwrap(error)
        if isinstance(cause, OldSessionBroken):
            return fail(f"nothing was imported: {cause} (--skip-bad leaves such sessions out)")
        if not isinstance(cause, StorageError | SessionBusyError | OSError):
            raise
        return fail(f"nothing was imported: {cause}")
    report(imported, left_out, bad, dry_run=options.dry_run)
    return OK


@contextmanager
def _open_place(options: ImportOptions) -> Iterator[tuple[Path, Path]]:
    """Hold the data folder; yield its database and a staging folder beside it.

    A dry run does not create a missing data folder.
    """
    if options.dry_run and not options.data.exists():
        with tempfile.TemporaryDirectory(prefix="builderos-") as name:
            yield options.data / DATABASE_NAME, Path(name)
        return
    with open_data_folder(options.data) as folder:
        passing = folder.path / PASSING_NAME
        with named_os_errors(passing):
            shutil.rmtree(passing, ignore_errors=True)  # left by a killed import
            passing.mkdir(mode=0o700)
        try:
            yield folder.database_path, passing
        finally:
            shutil.rmtree(passing, ignore_errors=True)


def _import(
    options: ImportOptions, zone: tzinfo | None, database: Path, passing: Path
) -> tuple[list[Imported], int, list[str]]:
    """Import into a copy; replace the database by it if that is wanted and anything was added."""
    with ExitStack() as stack:
        files = [
            stack.enter_context(open_old_database(path, passing / f"old-{number}.db"))
            for number, path in enumerate(options.files)
        ]
        copy = passing / database.name
        if database.exists():
            _copy(database, copy, migrate=not options.dry_run)
        skipped: list[str] | None = [] if options.skip_bad else None
        imported, left_out = trio.run(_write, files, zone, copy, options.workspace, skipped)
    if not options.dry_run and any(session.is_new or session.added for session in imported):
        put_database(copy, database)
    return imported, left_out, skipped or []


async def _write(
    files: Sequence[OldDatabase],
    zone: tzinfo | None,
    copy: Path,
    workspace: Path,
    skipped: list[str] | None,
) -> tuple[list[Imported], int]:
    """Import all sessions. `skipped`: takes why a session was left out; None: none may be."""
    session_ids = list(dict.fromkeys(one for file in files for one in file.session_ids()))
    progress, imported, left_out = Progress(len(session_ids)), [], 0
    async with open_store(copy, boot_id=read_boot_id(), now_ms=wall_clock_ms()) as store:
        writer = SessionWriter(store, workspace)
        for session_id in session_ids:
            # One session at a time: only one long session is in memory.
            try:
                copies = _read(files, session_id, skipped)
            except OldSessionBroken as error:
                if skipped is None:
                    raise
                skipped.append(str(error))
                continue
            if not copies:
                continue
            latest_ms = wall_clock_ms() + AHEAD_MS
            plan = plan_session(copies, zone, latest_ms).aliased(store.aliases)
            await store.app_pairs.note_known(session_id)
            imported.append(await writer.write(plan))
            left_out += plan.left_out
            progress.tell(len(imported), len(plan.said))
    return imported, left_out


def _read(files: Sequence[OldDatabase], session_id: str, skipped: list[str] | None) -> list[OldSession]:
    """Return the session as each file has it, but for files in which it cannot be read. Raises OldSessionBroken."""
    copies, is_bad = [], False
    for file in files:
        try:
            found = file.read(session_id)
        except OldSessionBroken as error:
            if skipped is None:
                raise
            is_bad = True
            skipped.append(str(error))
        else:
            copies += [] if found is None else [found]
    if not copies and not is_bad:  # a damaged index, or a column that does not compare as text
        names = ", ".join(str(file.path) for file in files)
        raise OldSessionBroken(f"{names}: a session is listed but cannot be found")
    return copies


def _copy(database: Path, copy: Path, *, migrate: bool) -> None:
    if migrate:
        trio.run(_open_once, database)  # an older version is migrated in place, with the usual copy beside it
    connection = open_writer(database)
    try:
        copy_database(connection, copy)
    finally:
        connection.close()


async def _open_once(database: Path) -> None:
    async with open_store(database, boot_id=read_boot_id(), now_ms=wall_clock_ms()):
        await trio.lowlevel.checkpoint()


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add the options of `import`."""
    parser.epilog = "The server must not run. All files or none; a second import adds only new messages."
    parser.add_argument(
        "files", nargs="+", type=as_path, metavar="FILE", help="sessions.db of the old server"
    )
    parser.add_argument(
        "--zone",
        metavar="ZONE",
        help="time zone of the old server, for example Europe/Berlin (default: this machine's)",
    )
    parser.add_argument(
        "--workspace",
        type=as_path,
        default=Path.cwd(),
        metavar="DIR",
        help="folder in which agents continue these conversations (default: the current folder)",
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out sessions that cannot be read, and list them"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be imported, change nothing")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if not arguments.workspace.is_dir():
        raise UsageError(f"--workspace: {arguments.workspace} is not a directory")
    options = ImportOptions(
        files=tuple(arguments.files),
        data=arguments.data,
        workspace=arguments.workspace,
        zone=arguments.zone,
        dry_run=arguments.dry_run,
        skip_bad=arguments.skip_bad,
    )
    return run_import(options)
