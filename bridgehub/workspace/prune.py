"""Removes checkpoints that nobody needs any more: of removed sessions, of great age, over the room for all. Blocks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import attrs

from bridgehub.workspace.git import GitFailed, GitMissing
from bridgehub.workspace.store import CheckpointStore, StoreBusy, session_ref

__all__ = ["MAX_BYTES", "SpaceUsed", "forget_session", "pack", "prune", "usage"]

MAX_BYTES = 5_000_000_000
"""Of all stores together; the oldest checkpoints go first."""

WAIT_S = 5.0
CLEAN_S = 600.0
"""What git may take to clear one store up."""

LOOSE = 1500
"""Objects in files of their own from which on they are packed: each takes a block of the disk, about 17 a turn."""


@attrs.frozen
class SpaceUsed:
    """What checkpoints take: workspaces, checkpoints of sessions, bytes on the disk."""

    stores: int
    checkpoints: int
    bytes: int


@attrs.frozen(order=True)
class _Ref:
    at_s: int
    name: str


def _stores(root: Path) -> list[CheckpointStore]:
    if not root.is_dir():
        return []
    found = []
    for folder in sorted(root.iterdir()):
        try:
            workspace = os.fsdecode((folder / "workspace").read_bytes())
        except OSError:
            continue
        found.append(CheckpointStore(folder, workspace))
    return found


def _refs(store: CheckpointStore) -> list[_Ref]:
    told = store.git("for-each-ref", "--format=%(creatordate:unix) %(refname)", "refs/ck/")
    lines = [line.split(" ", 1) for line in told.decode("utf-8", "replace").splitlines()]
    return sorted(_Ref(int(at), name) for at, name in lines)


def _size(folder: Path) -> int:
    size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a hub works on it meanwhile
                size += os.lstat(os.path.join(where, name)).st_blocks * 512
    return size


def usage(root: Path) -> SpaceUsed:
    """Return what checkpoints take."""
    stores = _stores(root)
    count = size = 0
    for store in stores:
        try:
            count += len(_refs(store))
            size += _size(store.folder)
        except (GitFailed, GitMissing, OSError, ValueError):
            continue
    return SpaceUsed(len(stores), count, size)


def forget_session(root: Path, session_id: str) -> int:
    """Remove a session's checkpoints, in whatever workspace; return how many there were."""
    folder = session_ref(session_id) + "/"
    return sum(_drop(store, lambda ref: ref.name.startswith(folder)) for store in _stores(root))


def prune(root: Path, sessions: Iterable[str], oldest_s: int, most_bytes: int = MAX_BYTES) -> int:
    """Remove checkpoints of sessions that are not among `sessions`, and older ones than `oldest_s` (Unix time).

    Returns how many went. A store that somebody works on is left for the next time.
    """
    known = {session_ref(one) for one in sessions}
    stores = _stores(root)
    gone = 0
    for store in stores:
        gone += _drop(store, lambda ref: ref.at_s < oldest_s or ref.name.rpartition("/")[0] not in known)
    while sum(_size(store.folder) for store in stores if store.exists) > most_bytes:
        oldest = sorted(ref for store in stores if store.exists for ref in _refs(store))
        if not oldest:
            break
        limit = oldest[len(oldest) // 4]
        dropped = sum(_drop(store, lambda ref: ref <= limit) for store in stores if store.exists)  # noqa: B023
        if not dropped:
            break
        gone += dropped
    return gone


def _drop(store: CheckpointStore, wanted: Callable[[_Ref], bool]) -> int:
    try:
        with store.locked(WAIT_S):
            (store.folder / "packed-refs.lock").unlink(missing_ok=True)  # of a git that was killed
            refs = _refs(store)
            going = [ref for ref in refs if wanted(ref)]
            if len(going) == len(refs):
                _remove(store)
            elif going:
                lines = "".join(f"delete {ref.name}\n" for ref in going)
                store.git("update-ref", "--stdin", given=lines.encode(), limit_s=CLEAN_S)
                store.git("prune", "--expire=now", limit_s=CLEAN_S, low=True)
            if store.exists and _loose(store) > LOOSE:
                store.git("repack", "-a", "-d", "-l", "-q", limit_s=CLEAN_S, low=True)
                _pack_refs(store)
            return len(going)
    except (StoreBusy, GitFailed, GitMissing, OSError, ValueError):
        return 0


def pack(store: CheckpointStore) -> bool:
    """Put the many small files of a store into few; return whether there were many.

    Checkpoints may be taken meanwhile: only what they keep already is moved. Raises GitFailed, GitMissing, OSError,
    StoreBusy: the next call does the rest.
    """
    if _loose(store) <= LOOSE:
        return False
    store.git("repack", "-d", "-l", "-q", limit_s=CLEAN_S, low=True)
    with store.locked(WAIT_S):
        _pack_refs(store)
    return True


def _pack_refs(store: CheckpointStore) -> None:
    (store.folder / "packed-refs.lock").unlink(missing_ok=True)  # of a git that was killed
    store.git("pack-refs", "--all", limit_s=CLEAN_S, low=True)


def _remove(store: CheckpointStore) -> None:
    """Remove a whole store, so that a crash in between leaves none that looks whole."""
    away = store.folder.with_name(f"{store.folder.name}.old")
    shutil.rmtree(away, ignore_errors=True)
    store.folder.rename(away)
    shutil.rmtree(away, ignore_errors=True)


def _loose(store: CheckpointStore) -> int:
    objects = store.folder / "objects"
    return sum(len(os.listdir(one)) for one in objects.iterdir() if len(one.name) == 2)
