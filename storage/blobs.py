"""Paths of blobs: a tool's long input or output, one file each, named by its SHA-256, in a folder of its session."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

__all__ = ["BLOBS_NAME", "blob_folder", "blob_path"]

BLOBS_NAME = "blobs"
"""The folder's name in the data folder."""

_PLAIN = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
