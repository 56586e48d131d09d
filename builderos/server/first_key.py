"""The first device's key: in the database as a hash, in the data folder as itself."""

from __future__ import annotations

import trio

from builderos.ids import new_key, wall_clock_ms
from storage.data_folder import DataFolder
from storage.store import Store
from storage.tables.devices import FIRST_DEVICE

__all__ = ["settle_first_key"]


async def settle_first_key(store: Store, folder: DataFolder, key: str | None) -> str | None:
    """See that database and key file hold the first device's key; return it where it was made just now.

    Args:
        key: what `BUILDEROS_API_KEY` says, if anything; it replaces an older one.

    Raises:
        StorageUnavailable: it could not be stored.
    """
    kept = folder.read_key()
    wanted = key or kept or new_key()
    known = store.devices.find(wanted)
    if known is None or known.id != FIRST_DEVICE:
        await store.devices.set_first_key(wanted, now_ms=wall_clock_ms())
    else:
        await trio.lowlevel.checkpoint()
    if wanted != kept:
        folder.write_key(wanted)
    return wanted if key is None and kept is None else None
