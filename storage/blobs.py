"""Where a tool's long input or output lies: one file each, named by its SHA-256, in a folder of its session."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

__all__ = ["BLOBS_NAME", "blob_folder", "blob_path"]

BLOBS_NAME = "blobs"
"""The folder in the data folder."""

_PLAIN = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def blob_folder(data: Path, session_id: str) -> Path:
    """Return the folder of a session's blobs; it need not be there.

    Its name is the session's id, but where that is no safe name: ids that begin with a dot, and ids with
    capital letters, which some file systems do not tell from small ones. No session's id begins with `=`.
    """
    if _PLAIN.fullmatch(session_id):
        return data / BLOBS_NAME / session_id
    return data / BLOBS_NAME / f"={sha256(session_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def blob_path(data: Path, session_id: str, digest: str) -> Path | None:
    """Return the file of one blob; it need not be there. None where `digest` is no SHA-256 in lower-case hex."""
    return blob_folder(data, session_id) / digest if _SHA256.fullmatch(digest) else None
