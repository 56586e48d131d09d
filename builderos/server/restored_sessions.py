"""What a restored database says of work that its backup had found going on.

Whether an agent finished a turn that was open then, or took a message that waited, nobody can tell any more: both
may have run after the backup was made. So nothing runs by itself. A turn whose message the agent had ends with
an error, a message that it may have had becomes `unknown`, and a person decides.
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
from builderos.ids import new_id
from storage.data_folder import read_boot_id
from storage.records import SessionRecord
from storage.store import Store, open_store

__all__ = ["end_what_was_open"]

PAGE_SESSIONS = 500

LOST_HUB = "lost"
"""Stands for the hub of the past that is gone, which cannot be asked; no hub has this id."""

DETAIL = "the conversation was restored from a backup"


async def end_what_was_open(database: Path, now_ms: int) -> None:
    """Migrate the database, end its open turns and let its sessions forget their hubs and agents' memories.

    Agents are given the journal's own history again: what they remember of the other past is not in it.

    Raises:
        StorageError: the database failed.
    """
    async with open_store(database, boot_id=read_boot_id()) as store:
        before: tuple[int, str] | None = None
        while page := await store.catalog.page(PAGE_SESSIONS, before):
            # Nothing here makes a session newer than those that are still to come: the list runs backwards.
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
    """Let the running turn end as one whose hub died, and one after the other those that wait."""
    take(
        step, Resume()
    )  # also of a session that had failed: what waited there would run with its next message
    while state.turn is not None:
        state.hub_id = LOST_HUB
        take(step, HubGone(LOST_HUB, "died", DETAIL))
