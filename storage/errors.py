"""Storage's errors, one class for each reaction of the caller."""

from __future__ import annotations

__all__ = [
    "DatabaseInUse",
    "DeviceExists",
    "DeviceRevoked",
    "Fenced",
    "FoldMismatch",
    "InsecureDataFolder",
    "OutcomeUnknown",
    "SearchBusy",
    "SequenceConflict",
    "SessionExists",
    "SessionMissing",
    "StorageBusy",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StorageLocked",
    "StorageReadOnly",
    "StorageUnavailable",
    "StorageVersion",
]


class StorageError(Exception):
    """Root of all errors of this package. The text names the file and the cause, never a secret."""


class StorageUnavailable(StorageError):
    """The medium does not accept writes now. Nothing was stored; the caller may retry the same append later."""


class StorageFull(StorageUnavailable):
    """No space is left on the device, or the database's own size limit is reached."""


class StorageReadOnly(StorageUnavailable):
    """The file or its file system is mounted or marked read-only."""


class StorageBusy(StorageUnavailable):
    """Another process holds a lock on the database file."""


class StorageCorrupt(StorageError):
    """The file is not a database, or its pages are damaged. A person must restore a backup."""


class StorageLocked(StorageError):
    """Another server holds the data folder. `holder` names it, in one line."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"the data folder is in use: {holder}")
        self.holder = holder


class DatabaseInUse(StorageError):
    """Another server holds the database, or has held it while this one could not reach it."""


class ClockOff(StorageError):
    """This machine's clock is far from the database's, and a person must set it."""


class InsecureDataFolder(StorageError):
    """Others can use the data folder, and this program cannot fix that; a person must."""


class StorageVersion(StorageError):
    """The database was written by a newer version of this program."""


class Fenced(StorageError):
    """The grant is stale: another owner has the session. The caller must stop writing permanently."""


class SearchBusy(StorageError):
    """A search reached its limit of time or number. A narrower or a later one may succeed."""


class SequenceConflict(StorageError):
    """`expected_seq` is not the head although the grant is valid: the caller's own count is wrong."""


class DeviceExists(StorageError):
    """A device with this id exists already, or another device uses it as a label."""


class DeviceRevoked(StorageError):
    """The key of the device that made this request was revoked meanwhile; nothing was stored."""


class FoldMismatch(StorageError):
    """A fold's range does not begin and end at row boundaries: the caller's own count is wrong."""


class OutcomeUnknown(StorageError):
    """COMMIT failed with an I/O error. Read the head to learn the outcome; never retry blindly."""


class SessionExists(StorageError):
    """A session with this id exists already."""


class SessionMissing(StorageError):
    """No session has this id."""
