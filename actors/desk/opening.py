"""A session out of a conversation that began in a terminal.

Its history is written in batches and hidden until it is whole; what a crash leaves of it is removed at the next start.
One conversation becomes one session: its id is made of the agent's name and the program's own id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Protocol

import attrs
import trio

from actors.events.codec import encode_entry, encode_settings
from actors.events.committed import Committed
from actors.events.conversation import Notice
from actors.events.pieces import join_pieces
from actors.events.session import SessionUpdated, Settings
from actors.fork import wait_until_whole
from actors.ports import Catalog, Clock, Ids, Journal, Ownership
from actors.session.snapshot import restore, summary
from actors.session.state import SessionState
from actors.session.steps.desk_steps import tell_desk_event
from actors.session.steps.settings_steps import chosen_at_desk
from actors.session.steps.step import Step
from bridgehub.desk.records import DESK, DeskEvent, DeskHistory, NoSuchSession
from storage.errors import SessionExists
from storage.records import Entry, Grant, NewSession, SessionRecord

__all__ = ["Opening", "ReadsDesk", "desk_session_id"]

BATCH_EVENTS = 120
"""Things of the history that become one append: at most about 500 rows."""

BATCH_CHARS = 512 * 1024

_NO_ID = re.compile(r"[^A-Za-z0-9._-]")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,80}", re.ASCII)


class ReadsDesk(Protocol):
    """Reads conversations; implemented by `bridgehub.desk.programs.Desk`."""

    async def history(self, agent: str, native_id: str) -> DeskHistory:
        """Read a conversation. Raises NoSuchSession."""
        ...


def desk_session_id(agent: str, native_id: str) -> str:
    """Return the id of the session that a conversation becomes. An id with other characters counts by its hash."""
    if not _PLAIN.fullmatch(native_id):
        native_id = hashlib.sha256(native_id.encode(errors="surrogatepass")).hexdigest()[:36]
    return f"{DESK}-{_NO_ID.sub('-', agent)[:40]}-{native_id}"


@attrs.frozen
class Opening:
    """Opens conversations of the desk."""

    desk: ReadsDesk
    journal: Journal
    ownership: Ownership
    catalog: Catalog
    clock: Clock
    new_id: Ids

    async def open(self, agent: str, native_id: str, device_id: str) -> tuple[str, bool]:
        """Return the session of a conversation, and whether it was made now.

        Raises:
            NoSuchSession: the program has no such conversation.
            StorageError: nothing was made that lasts.
        """
        session_id = desk_session_id(agent, native_id)
        if await self.catalog.get(session_id) is not None:
            return session_id, False
        history = await self.desk.history(agent, native_id)
        settings = encode_settings(Settings(workspace=history.session.workspace), origin=DESK)
        now_ms = self.clock()
        new = NewSession(
            session_id, agent, device_id, settings, now_ms, history.session.workspace, hidden=True
        )
        try:
            record = await self.catalog.create(new)
        except SessionExists:
            return await self._opened_by_another(session_id), False
        try:
            await self._write(record, history)
            await self.catalog.reveal(session_id, files_of=session_id)
        except BaseException:
            await self.catalog.remove_hidden(session_id)  # noqa: ASYNC102 - shielded, and bounded by the writer
            raise
        return session_id, True

    async def _opened_by_another(self, session_id: str) -> str:
        """Wait until a session is whole that somebody else opens just now. Raises NoSuchSession."""
        if await wait_until_whole(self.catalog, session_id) is None:
            raise NoSuchSession(session_id)
        return session_id

    async def _write(self, record: SessionRecord, history: DeskHistory) -> None:
        grant = await self.ownership.acquire(record.session_id)
        state = restore(record)
        state.desk, state.agent_memory = history.mark, history.memory
        for batch in _batches(history.events):
            await self._append(grant, state, batch)
        step = self._step(state)
        words = "The session began in a terminal and continues here."
        if history.is_cut:
            words += " Older messages are left out; the agent knows them."
        step.emit(Notice("from_desk", words), device_id=DESK)
        if history.session.title:
            step.emit(SessionUpdated(title=history.session.title[:200]), device_id=DESK)
        if history.mode:
            chosen_at_desk(step, {"permission_mode": history.mode})
        await self._store(grant, state, step, durable=True)
        await self.catalog.note(record.session_id, read_seq=state.head_seq)

    async def _append(self, grant: Grant, state: SessionState, batch: Sequence[DeskEvent]) -> None:
        step = self._step(state)
        for event in batch:
            tell_desk_event(step, event)
        await self._store(grant, state, step, durable=False)

    async def _store(self, grant: Grant, state: SessionState, step: Step, *, durable: bool) -> None:
        items = join_pieces(step.events, starts=step.starts)
        before = state.head_seq - sum(item.seq - item.first_seq + 1 for item in items)
        entries = await trio.to_thread.run_sync(_encode, items)
        state.control_dirty = True
        await self.journal.append(
            grant, before, entries, fold=step.folds, durable=durable, summary=summary(state)
        )

    def _step(self, state: SessionState) -> Step:
        return Step(state, self.clock(), self.new_id)


def _encode(items: Sequence[Committed]) -> list[Entry]:
    return [encode_entry(item) for item in items]


def _batches(events: Sequence[DeskEvent]) -> list[Sequence[DeskEvent]]:
    batches: list[Sequence[DeskEvent]] = []
    start, size = 0, 0
    for place, event in enumerate(events):
        size += len(getattr(event, "text", None) or "") + len(getattr(event, "output", ""))
        if place - start >= BATCH_EVENTS or size > BATCH_CHARS:
            batches.append(events[start : place + 1])
            start, size = place + 1, 0
    batches.append(events[start:])
    return batches
