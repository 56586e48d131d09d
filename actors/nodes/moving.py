"""Moves a session to another node, because a person wants it. The new home asks the old one to let go.

One transaction changes the home. If the old home is away for good, the new one does that by itself; then the fence in
each append and `leave_moved` see to it that the old one, if it comes back, writes nothing and ends its agent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, Protocol

import attrs
import trio

from actors.errors import ActorError, MachineAway, NodeCallRefused, SessionBusy, ShuttingDown, UnknownNode
from actors.events.codec import encode_entry
from actors.nodes.machines import Machines
from actors.nodes.node_answers import NodeQuestion
from actors.recovery import end_hubs
from actors.session.loading import load_state
from actors.session.snapshot import restore, summary
from actors.session.steps.move_steps import leave_machine
from actors.session.steps.step import Step
from actors.supervisor import Supervisor
from storage.errors import (
    Fenced,
    OutcomeUnknown,
    SequenceConflict,
    SessionMissing,
    StorageError,
    StorageUnavailable,
)
from storage.node_records import Move
from storage.records import Entry, Fold, SessionRecord, Summary

__all__ = ["MoveJournal", "Moving"]

TRIES: Final = 3
"""How often a session whose home is away is read again, because that home still wrote to it."""

LEAVE_S: Final = 10.0
"""How often it is looked whether sessions of this node have another home now, at least."""

RETRY_S: Final = 1.0

_log = logging.getLogger("builderos.actors")


class MoveJournal(Protocol):
    """The journal of a node; implemented by `storage.postgres.nodes.catalog.NodeJournal`."""

    async def move(
        self, move: Move, entries: Sequence[Entry], folds: Sequence[Fold], summary: Summary
    ) -> None:
        """Give a session another home, with its last events at the old one. All or nothing, and durable."""
        ...

    async def elsewhere(self, session_ids: Sequence[str]) -> dict[str, str]:
        """Return those of these sessions that are at home on other nodes, with their homes."""
        ...


async def _not_yet(_: object) -> Any:
    await trio.lowlevel.checkpoint()
    raise NodeCallRefused("unavailable", "This machine starts. Try again.")


@attrs.define(eq=False)
class Moving:
    """Both ends of a move.

    Attributes:
        moved: called with a session and its new home, once it has moved. Must not block.
        check: raises NodeCallRefused if this node cannot run a session, with the reason.
        forget: removes what this node kept of a session when it was here before: its checkpoints. Does not raise.
        may_move: whether the key of this device may move sessions, as this node knows it. Raises StorageError.
    """

    own: Supervisor
    machines: Machines
    journal: MoveJournal
    moved: Callable[[str, str], None]
    check: Callable[[SessionRecord], Awaitable[None]] = attrs.field(default=_not_yet, init=False)
    forget: Callable[[str], Awaitable[None]] = attrs.field(default=_not_yet, init=False)
    may_move: Callable[[str], Awaitable[bool]] = attrs.field(default=_not_yet, init=False)
    _looks: trio.Event = attrs.field(factory=trio.Event, init=False)
    _taking: set[str] = attrs.field(factory=set, init=False)

    async def move(self, session_id: str, to: str, *, force: bool, by: str) -> bool:
        """Move a session to a node; return False if it is at home there already.

        Args:
            force: also while it works, which interrupts its turn; also from a node that is away.
            by: the device that wants it.

        Raises:
            SessionMissing, UnknownNode, MachineAway, NodeCallRefused: nothing was moved.
            StorageError: nothing was moved, or nobody knows.
        """
        record = await self._record(session_id)
        if not self.machines.has(to):
            raise UnknownNode(to)
        if record.owner == to:
            return False
        if to == self.machines.own:
            await self._take(record, force=force, by=by)
        else:
            fields = {"session": session_id, "force": force, "by": by}
            await self.machines.ask(to, "take_session", fields)
        return True

    def serve(self) -> None:
        """Answer the other nodes from now on."""
        self.machines.serve("take_session", self._answer_take)
        self.machines.serve("let_go", self._answer_let_go)

    # ---- at the new home ----

    async def _answer_take(self, question: NodeQuestion) -> None:
        record, force, by = await self._asked(question)
        await self._take(record, force=force, by=by)

    async def _take(self, record: SessionRecord, *, force: bool, by: str) -> None:
        """Be the home of a session from now on. Raises NodeCallRefused, MachineAway, StorageError."""
        home, session_id = record.owner, record.session_id
        if home == self.machines.own:
            return
        if session_id in self._taking:
            raise NodeCallRefused("busy", "The session is being moved here already.")
        self._taking.add(session_id)
        try:
            if not force:
                await self.check(record)
            await self.forget(session_id)
            await self._take_from(home, session_id, force=force, by=by)
        finally:
            self._taking.discard(session_id)
        _log.info("session %s: moved here from node %s", session_id, home)
        self.moved(session_id, self.machines.own)
        self.own.start(session_id)  # a message may wait

    async def _take_from(self, home: str, session_id: str, *, force: bool, by: str) -> None:
        try:
            await self.machines.ask(home, "let_go", {"session": session_id, "force": force, "by": by})
        except (MachineAway, StorageUnavailable) as failed:
            if (await self._record(session_id)).owner != self.machines.own:  # else only its answer was lost
                await self._take_alone(session_id, failed, force=force, by=by)

    async def _take_alone(
        self, session_id: str, failed: MachineAway | StorageUnavailable, *, force: bool, by: str
    ) -> None:
        """Take a session without its home, if that is away and it is wanted so; else raise what failed."""
        if isinstance(failed, StorageUnavailable):
            raise failed
        if not force:
            raise NodeCallRefused("machine_away", f"{failed} If it does not come back, use force.")
        await self._seize(session_id, by)

    async def _seize(self, session_id: str, by: str) -> None:
        """Take a session from a node that is away. Raises NodeCallRefused if it is not, and StorageError."""
        for _ in range(TRIES):
            record, state = await load_state(self.own.deps.catalog, self.own.deps.journal, session_id)
            home = record.owner
            if home == self.machines.own:
                return
            step = Step(state, self.own.deps.clock(), self.own.deps.new_id)
            leave_machine(step, home=home, to=self.machines.own, by=by, is_away=True)
            move = Move(session_id, home, record.owner_epoch, record.head_seq, self.machines.own, True)
            try:
                await self._commit(move, step)
            except SequenceConflict:
                continue
            except Fenced as fenced:
                raise NodeCallRefused("busy", f"Its machine ({home}) is back. Try again.") from fenced
            return
        raise NodeCallRefused("busy", "Its machine still writes to it. Try again.")

    # ---- at the old home ----

    async def _answer_let_go(self, question: NodeQuestion) -> None:
        record, force, by = await self._asked(question)
        to = question.node
        if record.owner == to:
            return  # an earlier call did it, and its answer was lost
        if record.owner != self.machines.own:
            raise NodeCallRefused("busy", f"The session has moved to {record.owner}. Try again.")
        try:
            await self._let_go(record.session_id, to, force=force, by=by)
        except SessionBusy:
            raise NodeCallRefused(
                "busy", "A turn runs or a message waits. Stop it or wait for its end, or use force."
            ) from None
        except ShuttingDown as error:
            raise NodeCallRefused("shutting_down", str(error)) from None
        self.moved(record.session_id, to)

    async def _let_go(self, session_id: str, to: str, *, force: bool, by: str) -> None:
        """End a session's hub here, and give it to another node."""
        deps = self.own.deps
        async with self.own.held(session_id, moves=True, busy=force) as hold:
            state = restore(await self._record(session_id))
            if not force and state.where is not None:
                raise NodeCallRefused(
                    "open_elsewhere", "A terminal has it open. Close it there, or use force."
                )
            if not force and state.background:
                raise SessionBusy(session_id)
            await self._end_hubs([session_id])
            grant = await deps.ownership.acquire(session_id)
            _, state = await load_state(deps.catalog, deps.journal, session_id)
            step = Step(state, deps.clock(), deps.new_id)
            leave_machine(step, home=self.machines.own, to=to, by=by, is_away=False)
            move = Move(session_id, self.machines.own, grant.owner_epoch, grant.seq, to, False)
            unknown: OutcomeUnknown | None = None
            try:
                await self._commit(move, step)
            except OutcomeUnknown as error:
                unknown = error
            if unknown is not None and (await self._record(session_id)).owner != to:
                raise unknown
            hold.is_gone = True

    def look_after_moved(self) -> None:
        """Look soon whether sessions of this node have another home now. Never blocks."""
        self._looks.set()

    async def run(self) -> None:
        """Leave sessions that have another home now, until cancelled."""
        while True:
            with trio.move_on_after(LEAVE_S):
                await self._looks.wait()
            self._looks = trio.Event()
            try:
                await self.leave_moved()
            except (StorageError, ActorError) as error:
                _log.warning("sessions that were moved to other nodes are not left yet: %s", error)
                await trio.sleep(RETRY_S)
                self._looks.set()

    async def leave_moved(self) -> None:
        """Let go of sessions that were moved while this node was away: no hub of theirs works on, and their devices
        attach again. Raises StorageError."""
        found = await self.own.deps.hubs.living()
        names = sorted({*self.own.live, *(hub.session_id for hub in found)})
        moved = await self.journal.elsewhere(names) if names else {}
        for session_id, home in moved.items():
            try:
                async with self.own.held(session_id, moves=True, busy=True) as hold:
                    hold.is_gone = True
            except (SessionMissing, ShuttingDown, StorageUnavailable):
                continue  # it is under way already
            _log.warning("session %s: it was moved to node %s; its hub here ends", session_id, home)
            self.moved(session_id, home)
        if moved:
            await self._end_hubs(moved)

    # ---- both ----

    async def _end_hubs(self, session_ids: Collection[str]) -> None:
        """End all hubs of sessions. Raises NodeCallRefused if one lives on."""
        hubs = self.own.deps.hubs
        own = [found.hub_id for found in await hubs.living() if found.session_id in session_ids]
        await hubs.stop(own)
        await end_hubs(hubs, own)
        if any(found.alive for found in await hubs.living() if found.session_id in session_ids):
            raise NodeCallRefused("busy", "Its agent cannot be ended. See the log of its machine.")

    async def _commit(self, move: Move, step: Step) -> None:
        entries = [encode_entry(item) for item in step.events]
        await self.journal.move(move, entries, step.folds, summary(step.state))

    async def _record(self, session_id: str) -> SessionRecord:
        record = await self.own.deps.catalog.get(session_id)
        if record is None:
            raise SessionMissing(session_id)
        return record

    async def _asked(self, question: NodeQuestion) -> tuple[SessionRecord, bool, str]:
        """Return the session of a call, whether by force, and who wants it. Raises NodeCallRefused."""
        session_id, force, by = (question.fields.get(name) for name in ("session", "force", "by"))
        if not (isinstance(session_id, str) and isinstance(force, bool) and isinstance(by, str)):
            raise NodeCallRefused("bad_request", "The other machine asked in a form that is not known here.")
        if not await self.may_move(by):
            raise NodeCallRefused("forbidden", "This key may not move sessions.")
        try:
            return await self._record(session_id), force, by
        except SessionMissing:
            raise NodeCallRefused("not_found", "There is no such session.") from None
