"""Cleanup after failed sessions, restored sessions and hubs without an owner."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from actors.errors import HubError
from actors.events.codec import encode_entry
from actors.ports import Catalog, Hubs, Ids, Journal, Ownership
from actors.session.effect_runner import SessionDeps
from actors.session.inputs import HubGone, MarkFailed, Resume
from actors.session.loading import STORAGE_DOWN, load_state
from actors.session.snapshot import summary
from actors.session.steps.decide import decide
from actors.session.steps.step import Step
from actors.tail import Tail
from storage.records import Grant

__all__ = ["end_failed_session", "end_hubs", "end_restored_sessions", "sort_hubs"]

log = logging.getLogger("builderos.actors")

MAX_CONCURRENT_CLEANUPS = 8
"""Hubs that are ended in parallel: each takes a thread and a scan of the process table."""

LOST_HUB = "lost"
"""The id of the lost hub of the earlier past; no real hub has this id."""

RESTORED = "the conversation was restored from a backup"

PAGE_SESSIONS = 500


async def end_failed_session(deps: SessionDeps, session_id: str, tail: Tail, detail: str) -> None:
    """Kill a failed session's hub and journal the end of its turn, as soon as storage takes it.

    Raises:
        StorageError: the session cannot be read, or another owner has it.
        HubError: its hub could not be ended.
    """
    while True:
        try:
            await _end_session(deps, session_id, tail, detail)
            return
        except STORAGE_DOWN as exc:
            log.warning("session %s: its end waits for storage: %s", session_id, exc)
            await trio.sleep(deps.config.storage_retry_s)


async def _end_session(deps: SessionDeps, session_id: str, tail: Tail, detail: str) -> None:
    grant = await deps.ownership.acquire(session_id)
    _, state = await load_state(deps.catalog, deps.journal, session_id)
    hub_id = state.hub_id
    for leaving in state.leaving:
        await deps.hubs.reap(leaving, last_seq=0)
    if hub_id is not None:
        await deps.hubs.reap(hub_id, last_seq=state.hub_seq)
    step = Step(state, deps.clock(), deps.new_id)
    decide(step, MarkFailed(detail))
    tail.reset(state.epoch, await _append(deps.journal, grant, step, durable=True))
    if hub_id is not None:
        await deps.hubs.forget(hub_id)


async def end_restored_sessions(
    journal: Journal, ownership: Ownership, catalog: Catalog, *, now_ms: int, new_id: Ids
) -> None:
    """End the open turns of a restored database, and let its sessions forget their hubs and agents' memories.

    Agents get the journal's history again: their own memory belongs to the other past.

    Raises:
        StorageError: the database failed.
    """
    before: tuple[int, str] | None = None
    while page := await catalog.page(PAGE_SESSIONS, before):
        # The list runs newest first, and nothing here makes a session newer, so none is missed.
        before = (page[-1].last_activity_ms, page[-1].session_id)
        for record in page:
            if record.summary is not None:
                await _end_restored(journal, ownership, catalog, record.session_id, now_ms, new_id)


async def _end_restored(
    journal: Journal, ownership: Ownership, catalog: Catalog, session_id: str, now_ms: int, new_id: Ids
) -> None:
    """End what was open in a restored session, and let it forget its hub and its agent's memory.

    Nobody can tell whether an agent finished a turn that was open in the backup, or took a message that waited: both
    may have run after the backup was made. So nothing runs by itself. A turn whose message the agent had ends with an
    error. A message that the agent may have had becomes `unknown`, and a person decides.
    """
    grant = await ownership.acquire(session_id)
    _, state = await load_state(catalog, journal, session_id)
    step = Step(state, now_ms, new_id)
    state.hub_id, state.hub_seq = None, 0
    state.leaving.clear()
    decide(step, Resume())  # also for a failed session: its waiting messages would run with its next one
    while state.turn is not None:  # the running one, then each that waits
        state.hub_id = LOST_HUB
        decide(step, HubGone(LOST_HUB, "died", RESTORED))
    state.hub_id, state.hub_seq = None, 0
    state.agent_memory = None
    state.control_dirty = True
    await _append(journal, grant, step, durable=False)


async def _append(journal: Journal, grant: Grant, step: Step, *, durable: bool) -> int:
    """Append the events of a step to a session that has just been loaded; return the new head."""
    entries = [encode_entry(item) for item in step.events]
    return await journal.append(
        grant, grant.seq, entries, fold=step.folds, durable=durable, summary=summary(step.state)
    )


async def sort_hubs(deps: SessionDeps) -> tuple[set[str], list[str]]:
    """Return the sessions whose last hubs are found here, dead ones too: what they left is to be journalled. And the
    hubs that no session of this machine knows.

    Raises:
        StorageError: the sessions could not be read.
    """
    wanted: set[str] = set()
    strays: list[str] = []
    for found in await deps.hubs.living():
        record = await deps.catalog.get(found.session_id)
        kept = record.summary if record is not None and record.owner == deps.catalog.owner else None
        if kept is not None and kept.hub_id == found.hub_id:
            wanted.add(found.session_id)
        else:
            strays.append(found.hub_id)
    return wanted, strays


async def end_hubs(hubs: Hubs, hub_ids: Sequence[str]) -> None:
    """Kill hubs that nobody wants with their whole trees, several at once; their files go too."""
    limiter = trio.CapacityLimiter(MAX_CONCURRENT_CLEANUPS)

    async def end(hub_id: str) -> None:
        async with limiter:
            try:
                await hubs.reap(hub_id, last_seq=0)
                await hubs.forget(hub_id)
            except HubError as exc:
                log.error("hub %s could not be ended: %s", hub_id, exc)

    async with trio.open_nursery() as nursery:
        for hub_id in hub_ids:
            nursery.start_soon(end, hub_id)
