"""Ends the work that was open in a restored database."""

from __future__ import annotations

from pathlib import Path

from actors.recovery import end_restored_session
from builderos.ids import new_id, wall_clock_ms
from storage.data_folder import read_boot_id
from storage.store import open_store

__all__ = ["end_what_was_open"]

PAGE_SESSIONS = 500


async def end_what_was_open(database: Path, now_ms: int) -> None:
    """Migrate the database, end its open turns and let its sessions forget their hubs and agents' memories.

    Agents get the journal's history again: their own memory belongs to the other past.

    Raises:
        StorageError: the database failed.
    """
    async with open_store(database, boot_id=read_boot_id(), now_ms=wall_clock_ms()) as store:
        before: tuple[int, str] | None = None
        while page := await store.catalog.page(PAGE_SESSIONS, before):
            # The list runs newest first, and nothing here makes a session newer, so none is missed.
            before = (page[-1].last_activity_ms, page[-1].session_id)
            for record in page:
                if record.summary is not None:
                    await end_restored_session(
                        store.journal,
                        store.ownership,
                        store.catalog,
                        record.session_id,
                        now_ms=now_ms,
                        new_id=new_id,
                    )
