"""Finds a folder for the hubs' sockets if their path in the data folder is too long for a socket.

The folder belongs to this data folder only. It lies below the temporary folder, is created on demand and recorded in
the data folder, so that the next server finds the hubs that keep running.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Collection
from pathlib import Path

from actors.session.steps.step import HUB_ID_LENGTH
from bridgehub.protocol.folder import MAX_SOCKET_PATH_BYTES, SOCKET_NAME, codex_socket_of
from storage.data_folder import DataFolder
from storage.permissions import open_private

__all__ = ["find_socket_folder", "tidy_socket_folder"]

NOTE_NAME = "socket-folder"


def find_socket_folder(folder: DataFolder) -> Path:
    """Return the folder, the same one at each start; the hubs' own folder if paths are short enough. Blocks."""
    if _fits(folder.hubs_path):
        return folder.hubs_path
    note = folder.path / NOTE_NAME
    try:
        recorded = Path(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        recorded = None
    if recorded is not None and _is_ours(recorded):
        return recorded
    made = Path(tempfile.mkdtemp(prefix="builderos-"))  # 0700, and a name that nobody can predict
    with open(note, "w", encoding="utf-8", opener=open_private) as file:
        file.write(str(made))
    return made


def tidy_socket_folder(folder: DataFolder, sockets: Path, living: Collection[str]) -> None:
    """Remove the sockets of dead hubs, and the folder with its record if no hub lives. Blocks."""
    if sockets == folder.hubs_path:
        return
    beside = (codex_socket_of(sockets / hub_id) for hub_id in living)
    kept = {*living, *(path.name for path in beside if path is not None)}
    for socket in sockets.iterdir():
        if socket.name not in kept:
            socket.unlink(missing_ok=True)
    if not living:
        sockets.rmdir()
        (folder.path / NOTE_NAME).unlink(missing_ok=True)


def _is_ours(folder: Path) -> bool:
    """Return whether a folder exists and is ours: after the temporary folder was emptied, others can take the name."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _fits(hubs: Path) -> bool:
    longest = hubs / ("x" * HUB_ID_LENGTH) / SOCKET_NAME
    return len(os.fsencode(longest)) <= MAX_SOCKET_PATH_BYTES
