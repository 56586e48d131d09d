"""Ends the work that was open in a restored database.

Nobody can tell whether an agent finished a turn that was open in the backup, or took a message that waited: both may
have run after the backup was made. So nothing runs by itself. A turn whose message the agent had ends with an error. A
message that the agent may have had becomes `unknown`, and a person decides.
"""

from __future__ import annotations

from pathlib import Path

from actors.codec import encode_entry
from actors.session.hub_steps import take
from actors.session.inputs import HubGone, Resume
from actors.session.loading import load_state
from actors.session.snapshot import summary
from actors.session.state import SessionState
from actors.session.step import Step
from builderos.ids import new_id, wall_clock_ms
from storage.data_folder import read_boot_id
from storage.records import SessionRecord
from storage.store import Store, open_store

__all__ = ["end_what_was_open"]

PAGE_SESSIONS = 500

LOST_HUB = "lost"
"""The id of the lost hub of the earlier past; no real hub has this id."""

DETAIL = "the conversation was restored from a backup"


async def end_what_was_open(database: Path, now_ms: int) -> None:
    """Migrate the database, end its open turns and let its sessions forget their hubs and agents' memories.

    Agents get the journal's history again: their own memory belongs to the other past. The restored folder may be a
    copy, so it notifies a device only once that shows itself.

    Raises:
        StorageError: the database failed.
    """
    async with open_store(database, boot_id=read_boot_id(), now_ms=wall_clock_ms()) as store:
        await store.notifications.channels.sleep()
        before: tuple[int, str] | None = None
        while page := await store.catalog.page(PAGE_SESSIONS, before):
            # The list runs newest first, and nothing here makes a session newer, so none is missed.
            before = (page[-1].last_activity_ms, page[-1].session_id)
            for record in page:
                if record.summary is not None:
                    await _end_session(store, record, now_ms)


async def _end_session(store: Store, record: SessionRecord, now_ms: int) -> None:
    grant = await store.ownership.acquire(record.session_id)
    record, state = await load_state(store.catalog, store.journal, record.session_id)
    step = Step(state, now_ms, new_id)
    state.hub_id, state.hub_seq = None, 0
    state.leaving.clear()
    _lose_hub(step, state)
    state.hub_id, state.hub_seq = None, 0
    state.agent_memory = None
    state.control_dirty = True
    entries = [encode_entry(item) for item in step.events]
    await store.journal.append(
        grant, record.head_seq, entries, fold=step.folds, durable=False, summary=summary(state)
    )


def _lose_hub(step: Step, state: SessionState) -> None:
    """End the running turn as if its hub had died, then do the same for each waiting message."""
    take(step, Resume())  # also for a failed session: its waiting messages would run with its next one
    while state.turn is not None:
        state.hub_id = LOST_HUB
        take(step, HubGone(LOST_HUB, "died", DETAIL))
