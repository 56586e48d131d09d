"""Which database a data folder's sessions are in, and which data folder a database's sessions are at home in.

A session's workspace and its agent are on one machine. A server with another folder would take its running turns for
dead, and a server with another database would take its agents for strays. So folder and database name each other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import attrs

from storage.errors import StorageError
from storage.sqlite.connection import named_os_errors

__all__ = [
    "HOME_NAME",
    "Home",
    "WrongDatabase",
    "name_of_place",
    "read_home",
    "refuse_other_database",
    "settle_home",
    "settle_place",
    "write_home",
]

HOME_NAME: Final = "database.json"
"""The file's name in the data folder. A folder on SQLite has none."""

NOTE_BYTES: Final = 4096


class WrongDatabase(StorageError):
    """Folder and database do not belong together."""


@attrs.frozen
class Home:
    """A data folder's note.

    Attributes:
        node: a random name of the folder, which the database keeps too.
        place: the database, as `storage.open_tables.Database.place`.
        name: the database, for people.
        url: the database without a password, for commands that read it.
    """

    node: str
    place: str
    name: str
    url: str


def read_home(data: Path) -> Home | None:
    """Return the note of a data folder; None if its sessions are in SQLite. Blocks briefly.

    Raises:
        WrongDatabase: there is a note that cannot be read.
    """
    path = data / HOME_NAME
    try:
        with path.open("rb") as file:
            note = json.loads(file.read(NOTE_BYTES))
        return Home(**{field.name: str(note[field.name]) for field in attrs.fields(Home)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongDatabase(f"{path}: cannot be read, so the database of this folder is unknown") from error


def write_home(data: Path, home: Home) -> None:
    """Write the note of a folder, durably. Blocks. Raises StorageUnavailable."""
    path = data / HOME_NAME
    with named_os_errors(path):
        new = path.with_suffix(".new")
        with os.fdopen(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w"
        ) as file:
            json.dump(attrs.asdict(home), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def refuse_other_database(data: Path, what: str) -> None:
    """Raise WrongDatabase if the sessions of a folder are not in SQLite. Blocks briefly.

    Args:
        what: the reason in the error's text, after the database's name.
    """
    home = read_home(data)
    if home is not None:
        raise WrongDatabase(f"{data}: its sessions are in the {home.name}; {what}")


def settle_home(data: Path, own: Home, kept: str | None, *, move_here: bool) -> str:
    """Return the name of the folder that the database is to keep. Blocks.

    Args:
        own: of this database, with a new name for a folder that has none.
        kept: the name that the database keeps; None for a new database.
        move_here: accept a database of another folder.

    Raises:
        WrongDatabase: folder and database do not belong together.
    """
    known = _known_of(data, own, move_here=move_here)
    if kept is not None and (known is None or known.node != kept) and not move_here:
        raise WrongDatabase(
            f"{own.name}: its sessions belong to another data folder, where their agents may still run;"
            " --move-here takes them over without their agents"
        )
    return _note(data, own, known)


def name_of_place(data: Path, own: Home, *, move_here: bool) -> str:
    """Return the name that `settle_place` would return; change nothing. Blocks briefly. Raises WrongDatabase."""
    known = _known_of(data, own, move_here=move_here)
    return own.node if known is None else known.node


def settle_place(data: Path, own: Home, *, move_here: bool) -> str:
    """Return the name of a folder whose database other folders use too; note the database. Blocks.

    Raises:
        WrongDatabase: the folder's sessions are in another database.
    """
    return _note(data, own, _known_of(data, own, move_here=move_here))


def _known_of(data: Path, own: Home, *, move_here: bool) -> Home | None:
    known = read_home(data)
    if known is not None and known.place != own.place and not move_here:
        raise WrongDatabase(
            f"{data}: its sessions are in the {known.name}, and this is another database ({own.name});"
            " --move-here accepts it"
        )
    return known


def _note(data: Path, own: Home, known: Home | None) -> str:
    node = own.node if known is None else known.node
    if known is None or known.place != own.place:
        write_home(data, attrs.evolve(own, node=node))
    return node
