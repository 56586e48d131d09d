"""Stores revocations. Each counts before it is stored, and is retried until the disk accepts it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import attrs
import trio

from storage.errors import StorageError
from storage.tables.audit import append_acts
from storage.tables.hash_chain import Act
from storage.transaction import TableWriter, Transaction

__all__ = ["Revocations", "end_what_it_opened"]

RETRY_S = 1.0
"""Seconds after which a failed revocation is retried."""

_REVOKE = "UPDATE device SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL"
_END_PAIRINGS = "DELETE FROM pairing WHERE made_by = ?"
_END_PAIRS = "DELETE FROM app_pair WHERE key_hash = (SELECT key_hash FROM device WHERE id = ?)"
# The holder of a key that is revoked now may have read and copied these ids
# (`storage.tables.alias_migration`).
_BURN_KNOWN = (
    "UPDATE app_known SET burnt = 1",
    "DELETE FROM app_pair WHERE session_id IN (SELECT session_id FROM app_known)",
)

_log = logging.getLogger("builderos.storage")


@attrs.define(eq=False)
class _Owed:
    """One revocation. `tried`: set after the first attempt."""

    device_id: str
    at_ms: int
    noted: Sequence[Act]
    tried: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Revocations:
    """Revocations that are not on disk yet. `run` stores them.

    Attributes:
        any: whether there was one since the start.
    """

    _writer: TableWriter
    any: bool = attrs.field(default=False, init=False)
    _owed: dict[str, _Owed] = attrs.field(factory=dict, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    def owe(self, device_id: str, at_ms: int, noted: Sequence[Act]) -> None:
        """Accept a revocation that counts already. Never blocks."""
        self.any = True
        self._owed[device_id] = _Owed(device_id, at_ms, noted)
        self._wake.set()

    @property
    def owes(self) -> bool:
        """Whether a revocation is not on disk yet."""
        return bool(self._owed)

    async def stored(self, device_id: str) -> bool:
        """Wait for the first attempt to store a revocation; return whether it is on disk.

        If it is not, `run` retries it. Cancellation changes nothing.
        """
        owed = self._owed.get(device_id)
        if owed is None:
            await trio.lowlevel.checkpoint()
        else:
            await owed.tried.wait()
        return device_id not in self._owed

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Store revocations until cancelled; retry failed ones every second."""
        task_status.started()
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                if not await self._store():
                    await trio.sleep(RETRY_S)
                    self._wake.set()
        finally:
            for device_id in self._owed:
                _log.error(
                    "device %s: its revocation is not on disk, so its key is valid again after the next start.  "
                    "Make room on the disk and revoke it again",
                    device_id,
                )

    async def _store(self) -> bool:
        """Try to store all revocations; return whether that worked."""
        for owed in tuple(self._owed.values()):
            work = partial(_revoke, owed.device_id, owed.at_ms, owed.noted)
            try:
                await self._writer.submit(work, durable=True)
            except StorageError as failed:
                if not owed.tried.is_set():
                    _log.error("device %s: revoked, but not on disk yet: %s", owed.device_id, failed)
            else:
                del self._owed[owed.device_id]
            owed.tried.set()
        return not self._owed


def end_what_it_opened(device_id: str, connection: Transaction) -> None:
    """End the codes and the pairs of ids that a key opened, and those that its holder may have read."""
    connection.execute(_END_PAIRINGS, (device_id,))
    connection.execute(_END_PAIRS, (device_id,))
    for sql in _BURN_KNOWN:
        connection.execute(sql)


def _revoke(device_id: str, now_ms: int, acts: Sequence[Act], connection: Transaction) -> None:
    connection.execute(_REVOKE, (now_ms, device_id))
    if connection.changes() == 0:
        return  # an earlier attempt with unknown outcome had stored it
    end_what_it_opened(device_id, connection)
    append_acts(acts, connection)
