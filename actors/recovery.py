"""The ends that nobody else is left to see to: of a session that failed, and of hubs that nobody wants."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from actors.codec import encode_entry
from actors.errors import HubError
from actors.ports import Hubs
from actors.session.effect_runner import STORAGE_DOWN, SessionDeps
from actors.session.hub_steps import take
from actors.session.inputs import MarkFailed
from actors.session.loading import load_state
from actors.session.snapshot import summary
from actors.session.step import Step
from actors.tail import Tail

__all__ = ["end_failed_session", "end_hubs"]

log = logging.getLogger("builderos.actors")

MAX_CONCURRENT_CLEANUPS = 8
"""Hubs that are ended in parallel: each takes a thread and a scan of the process table."""


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
    record, state = await load_state(deps.catalog, deps.journal, session_id)
    hub_id = state.hub_id
    for leaving in state.leaving:
        await deps.hubs.reap(leaving, last_seq=0)
    if hub_id is not None:
        await deps.hubs.reap(hub_id, last_seq=state.hub_seq)
    step = Step(state, deps.clock(), deps.new_id)
    take(step, MarkFailed(detail))
    entries = [encode_entry(item) for item in step.events]
    head = await deps.journal.append(
        grant, record.head_seq, entries, fold=step.folds, durable=True, summary=summary(state)
    )
    tail.reset(state.epoch, head)
    if hub_id is not None:
        await deps.hubs.forget(hub_id)


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
