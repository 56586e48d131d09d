"""Storage's errors, told apart by role: who must do what about it."""

from __future__ import annotations

__all__ = [
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
    """The medium does not take writes now; nothing was stored; the same append may be tried later."""


class StorageFull(StorageUnavailable):
    """No space left on the device, or the database's own size limit is reached."""


class StorageReadOnly(StorageUnavailable):
    """The file or its file system is mounted or marked read-only."""


class StorageBusy(StorageUnavailable):
    """Another process holds a lock on the database file."""


class StorageCorrupt(StorageError):
    """The file is no database or its pages are damaged; a person must restore a backup."""


class StorageLocked(StorageError):
    """Another server holds the data folder. `holder` says who, in one line."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"the data folder is in use: {holder}")
        self.holder = holder


class InsecureDataFolder(StorageError):
    """The data folder is not its owner's alone, and that is not ours to mend; a person must."""


class StorageVersion(StorageError):
    """The database was written by a newer version of this program."""


class Fenced(StorageError):
    """The grant is stale: another owner has the session. The caller must stop writing for good."""


class SearchBusy(StorageError):
    """A search was ended by its limit of time or number; a narrower one, or a later one, may succeed."""


class SequenceConflict(StorageError):
    """`expected_seq` is not the head although the grant holds: the caller's own count is wrong."""


class DeviceExists(StorageError):
    """A device with this id is there already, or another device uses it as a label."""


class DeviceRevoked(StorageError):
    """The key of the device that asked for this has ended meanwhile; nothing was stored."""


class FoldMismatch(StorageError):
    """A fold's range does not begin and end at row borders: the caller's own count is wrong."""


class OutcomeUnknown(StorageError):
    """COMMIT failed with an I/O error: read the head to learn the outcome, never retry blindly."""


class SessionExists(StorageError):
    """A session with this id is there already."""


class SessionMissing(StorageError):
    """There is no session with this id."""
