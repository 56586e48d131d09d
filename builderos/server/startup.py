"""The first admin key, and the warnings that are logged once the server serves."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import trio

from builderos.ids import new_key, wall_clock_ms
from storage.data_folder import DataFolder
from storage.errors import StorageError
from storage.store import Store
from storage.tables.devices import FIRST_DEVICE
from transport.access.proxies import is_loopback

__all__ = [
    "SHORT_KEY",
    "ensure_admin_key",
    "ensure_shared_key",
    "log_startup_warnings",
    "warn_of_plain_text",
]

SHORT_KEY = 20
"""Characters of a key that a person chose; a generated one has 64."""

log = logging.getLogger("builderos.server")


def log_startup_warnings(folder: DataFolder, key: str | None) -> None:
    """Log which files others of this machine could read until now, and a key that may be guessed.

    Args:
        folder: the data folder.
        key: the value of `BUILDEROS_API_KEY`, if set.
    """
    if folder.fixed:
        names = ", ".join(path.name for path in folder.fixed[:3])
        more = f" and {len(folder.fixed) - 3} more" if len(folder.fixed) > 3 else ""
        advice = " Replace the key: others could read it." if folder.key_path in folder.fixed else ""
        log.warning(
            "other users could read %s%s in %s; permissions have been fixed.%s",
            names,
            more,
            folder.path,
            advice,
        )
    if key is not None and len(key) < SHORT_KEY:
        log.warning(
            "BUILDEROS_API_KEY: shorter than %d characters, so it may be guessed; choose a longer one",
            SHORT_KEY,
        )


def warn_of_plain_text(addresses: Iterable[str]) -> None:
    """Log that keys pass in the clear if a server without TLS listens on an address of the network.

    Args:
        addresses: the addresses that it listens on.
    """
    public = [address for address in addresses if not is_loopback(address)]
    if public:
        log.warning(
            "listening on %s without TLS: others on the network can read keys and messages;"
            " use --tls-cert and --tls-key, or listen on 127.0.0.1 behind a tunnel",
            ", ".join(public),
        )


async def ensure_admin_key(store: Store, folder: DataFolder, key: str | None) -> str | None:
    """Make sure that the database and the key file have the first device's key; return the key if it is new.

    Args:
        key: the value of `BUILDEROS_API_KEY`, if set; it replaces an older one.

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


async def ensure_shared_key(store: Store, folder: DataFolder, key: str | None) -> str | None:
    """Make sure that a database of several machines has a first device; return its key if it is new.

    An existing one is not replaced, since it is another machine's too. The key file keeps a key only if that is valid.

    Args:
        key: the value of `BUILDEROS_API_KEY`, if set.

    Raises:
        StorageError: `key` is not valid here, or nothing could be stored.
    """
    kept = folder.read_key()
    wanted = key or kept or new_key()
    is_new = await store.devices.add_first_key(wanted, now_ms=wall_clock_ms())
    if store.devices.find(wanted) is not None:
        if wanted != kept:
            folder.write_key(wanted)
    elif key is not None:
        raise StorageError(
            "BUILDEROS_API_KEY: is not a key of this database; set the one of the other machines"
        )
    elif kept is not None:
        log.warning(
            "%s: its key is not valid in this database; commands on this machine need another",
            folder.key_path,
        )
    return wanted if is_new and key is None and kept is None else None
