"""The data folder: private to its owner, held by one server at a time; and where files lie in it.

The lock is `flock` on an open file, so it ends with the process, however that ends. A process that is forked while the
lock is held shares it. So a process that outlives the server (a hub) must be started by exec, which closes the file, or
forked from a process that never had the file open.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import attrs
import psutil

from storage.errors import StorageLocked
from storage.holder import LOCK_NAME, NOTE_BYTES, Holder, read_holder, read_note
from storage.permissions import make_private
from storage.sqlite.connection import named_os_errors

__all__ = [
    "BLOBS_NAME",
    "CHECKPOINTS",
    "DATABASE_NAME",
    "UPLOADS_NAME",
    "WORKTREES",
    "DataFolder",
    "Holder",
    "blob_folder",
    "blob_path",
    "open_data_folder",
    "read_boot_id",
    "read_holder",
]

DATABASE_NAME = "builderos.db"
CHECKPOINTS = "checkpoints"
"""Where the saved states of workspaces lie, a store each; a backup leaves them out."""

WORKTREES = "worktrees"
"""Where git worktrees of sessions lie; a backup leaves them out."""

BLOBS_NAME = "blobs"
"""Where a tool's long input or output lies: one file each, named by its SHA-256, in a folder of its session."""

UPLOADS_NAME = "uploads"
"""Where files that devices uploaded lie."""

_PLAIN = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class DataFolder:
    """A folder that this process holds. Only `open_data_folder` makes one. Its methods block briefly.

    Attributes:
        fixed: files that others of this machine could read or write until now.
    """

    path: Path
    fixed: tuple[Path, ...]
    _lock_fd: int

    @property
    def database_path(self) -> Path:
        """The database. Its WAL and its copies of older versions lie beside it."""
        return self.path / DATABASE_NAME

    @property
    def hubs_path(self) -> Path:
        """The folder of the hubs' sockets and files."""
        return self.path / "hubs"

    @property
    def uploads_path(self) -> Path:
        """The folder of uploaded files."""
        return self.path / UPLOADS_NAME

    @property
    def blobs_path(self) -> Path:
        """The folder of tools' long inputs and outputs."""
        return self.path / BLOBS_NAME

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self.path / "server.log"

    @property
    def key_path(self) -> Path:
        """The file with the first device's key."""
        return self.path / "api-key"

    def note_address(self, address: str) -> None:
        """Write the server's address into the lock file, for a process that finds the folder locked."""
        _write_note(self._lock_fd, address)

    def read_key(self) -> str | None:
        """Return the first device's key; None if there is none yet."""
        try:
            text = self.key_path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        return text or None

    def write_key(self, key: str) -> None:
        """Replace the key file atomically, with mode 0600 from the start.

        Raises:
            StorageUnavailable: the earlier one is unchanged.
        """
        partial = self.key_path.with_name("api-key.new")
        with named_os_errors(partial):
            partial.unlink(missing_ok=True)
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(key + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.key_path)


@contextmanager
def open_data_folder(path: Path) -> Iterator[DataFolder]:
    """Create the folder if it is missing, private, and hold it for the length of the block.

    Blocks briefly; meant for start-up, before or beside the event loop.

    Raises:
        StorageLocked: another process holds it; the error names the process.
        InsecureDataFolder: it belongs to another user.
        StorageUnavailable: it cannot be created or written.
    """
    with named_os_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    fixed = tuple(make_private(path))
    with named_os_errors(path):
        lock_fd = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageLocked(str(read_note(lock_fd) or "another process")) from error
        folder = DataFolder(path, fixed, lock_fd)
        with named_os_errors(path):
            os.fchmod(lock_fd, 0o600)
            _write_note(lock_fd, "")
            for inner in (folder.hubs_path, folder.uploads_path, folder.blobs_path):
                inner.mkdir(mode=0o700, exist_ok=True)
                inner.chmod(0o700)  # the umask may have removed permissions
        yield folder
    finally:
        os.close(lock_fd)


def _write_note(lock_fd: int, address: str) -> None:
    pid = os.getpid()
    note = {"pid": pid, "started_at": psutil.Process(pid).create_time(), "address": address}
    text = json.dumps(note).encode()
    # Padded and written in one call: a reader finds the old note or the new one, never a part.
    os.pwrite(lock_fd, text.ljust(NOTE_BYTES // 8), 0)


_LINUX = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """Return a text that changes when the machine reboots. Reads a file of the kernel; call it at start-up.

    Without Linux it is the second of the last boot. Setting the clock may shift it. The worst effect: after an unclean
    end a device loads a session again.
    """
    if _LINUX.exists():
        return _LINUX.read_text(encoding="ascii").strip()
    return f"boot-{int(psutil.boot_time())}"


def blob_folder(data: Path, session_id: str) -> Path:
    """Return the folder of a session's blobs; it may not exist.

    The folder is named after the session's id if that is a safe name. It is not safe if it begins with a dot, or if it
    has capital letters, which some file systems do not distinguish. No session id begins with `=`.
    """
    if _PLAIN.fullmatch(session_id):
        return data / BLOBS_NAME / session_id
    return data / BLOBS_NAME / f"={sha256(session_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def blob_path(data: Path, session_id: str, digest: str) -> Path | None:
    """Return the file of one blob; it may not exist. None if `digest` is not a SHA-256 in lower-case hex."""
    return blob_folder(data, session_id) / digest if _SHA256.fullmatch(digest) else None
