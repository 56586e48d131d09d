"""Runs one actor per live session, brings back what an earlier server left, and isolates every crash.

`async with open_supervisor(...) as supervisor:` is all that a test harness needs, with fakes for the journal and the
hubs (`docs/internals/testing.md`). A connection sees it only as `CommandBus`, `LiveBus` and `SessionWatch`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager

import attrs
import trio

from actors.commands import Envelope
from actors.config import ActorConfig
from actors.crashes import CrashRecord, run_guarded
from actors.errors import HubFenced, SessionBusy, SessionFailed, ShuttingDown
from actors.fork import Forking, new_fork
from actors.recovery import end_failed_session, end_hubs
from actors.session.actor import SessionActor
from actors.session.effect_runner import SessionDeps
from actors.session.mailbox import Mailbox, refuse
from actors.session.snapshot import has_work
from actors.tail import Following, Listener, SessionProblem, Tail, Watching
from bridgehub.protocol.errors import unwrap
from storage.errors import Fenced, SessionMissing, StorageError

__all__ = ["Supervisor", "SupervisorStatistics", "open_supervisor"]

log = logging.getLogger("builderos.actors")


CLOCK_S = 30.0
"""How often it is looked which sessions are due, at least: the clock of the wall may be set."""

DUE_AT_ONCE = 500
"""Sessions that are started at once because their time came."""

DUE_AGAIN_S = 0.5
"""When it is looked again after some were due: their actors take them in the meantime."""


@attrs.frozen
class SupervisorStatistics:
    """Counts of one moment.

    Attributes:
        live_count: sessions with a running actor.
        failed_count: sessions that were given up.
        crash_count: crashes since the start.
    """

    live_count: int
    failed_count: int
    crash_count: int


@attrs.define(eq=False)
class _Child:
    """One live session: what outlives its actor's crashes."""

    session_id: str
    tail: Tail
    crashes: CrashRecord
    mailbox: Mailbox = attrs.field(factory=Mailbox)
    running: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    failed_at: float | None = None


@attrs.define(eq=False)
class Supervisor:
    """Runs an actor for each session that is in use. Made by `open_supervisor` only."""

    _deps: SessionDeps
    _nursery: trio.Nursery
    _children: dict[str, _Child] = attrs.field(factory=dict)
    _watchers: dict[Callable[[str], None], None] = attrs.field(factory=dict)
    _removing: set[str] = attrs.field(factory=set)
    _ended: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _crash_count: int = 0
    _closing: bool = False
    _rested: trio.Event = attrs.field(factory=trio.Event)

    # ---- the ports ----

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        """Hand a command to the session's actor, starting it where it is not live. See `CommandBus`."""
        if self._closing:
            raise ShuttingDown("the server is about to stop")
        if session_id in self._removing:
            raise SessionMissing(session_id)
        if session_id not in self._children and await self._deps.catalog.get(session_id) is None:
            raise SessionMissing(session_id)
        if self._closing:
            raise ShuttingDown("the server is about to stop")
        if session_id in self._removing:
            raise SessionMissing(session_id)
        child = self._child(session_id)
        if child.failed_at is not None:
            left = child.failed_at + self._config.revive_after_s - trio.current_time()
            if left > 0:
                raise SessionFailed(session_id, left)
            child.failed_at = None
            child.crashes.clear()
            child.tail.post_nowait(SessionProblem(None, "the session works again"))
        self._ensure_running(child)
        await child.mailbox.put(envelope)
        if not child.running or child.failed_at is not None:  # it ended while this waited for room
            self._refuse_all(child, "the session ended; send it once more")

    def listen(self, session_id: str, listener: Listener) -> AbstractContextManager[Tail]:
        """Follow a session while inside the block. See `LiveBus`."""
        return Following(self, session_id, listener)

    def join(self, session_id: str, listener: Listener) -> Tail:
        """Implements `actors.tail.Followed`."""
        child = self._child(session_id)
        child.tail.join(listener)
        try:
            if child.failed_at is None and not self._closing and session_id not in self._removing:
                self._ensure_running(child)
        except BaseException:
            self.leave(child.tail, listener)
            raise
        return child.tail

    def leave(self, tail: Tail, listener: Listener) -> None:
        """Implements `actors.tail.Followed`."""
        tail.leave(listener)
        child = self._children.get(tail.session_id)
        if child is not None and child.tail is tail:
            child.mailbox.wake()  # the actor may have been waiting for the last device to go
            self._let_go(child)

    def listeners(self) -> Iterator[Listener]:
        """Yield all that listen to a session now."""
        for child in self._children.values():
            yield from child.tail.listeners

    def listeners_of(self, session_id: str) -> Sequence[Listener]:
        """Return all that listen to a session now."""
        child = self._children.get(session_id)
        return () if child is None else child.tail.listeners

    def watch(self, changed: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call `changed` with a session's id whenever its entry in a list may have changed."""
        return Watching(self._watchers, changed)

    def note_change(self, session_id: str) -> None:
        """Tell all who watch that a session's entry in a list may have changed. Never blocks."""
        for changed in tuple(self._watchers):
            changed(session_id)

    async def remove(self, session_id: str) -> None:
        """Remove a session for good: its owner stops, its hub ends, its devices are detached.

        Cancelled, it is removed or as it was; a hub that has ended starts again with the next message.

        Raises:
            SessionMissing: there is no such session, or somebody removes it already.
            SessionBusy: it has work to do, and continues.
            ShuttingDown: the server is about to stop.
            StorageUnavailable: as `Catalog.remove`.
        """
        if self._closing:
            raise ShuttingDown("the server is about to stop")
        if session_id in self._removing:
            raise SessionMissing(session_id)
        child = self._child(session_id)
        was_running, removed = child.running, False
        self._removing.add(session_id)
        try:
            await self._refuse_busy(child)  # so that one at work is not even stopped
            await self._stop(child)
            await self._refuse_busy(child)
            hubs = [found for found in await self._deps.hubs.living() if found.session_id == session_id]
            await end_hubs(self._deps.hubs, [found.hub_id for found in hubs])
            await self._deps.catalog.remove(session_id)
            removed = True
        finally:
            self._removing.discard(session_id)
            if was_running and not removed and not self._closing:
                self._ensure_running(self._child(session_id))  # its entry may have gone with its actor
            elif not removed:
                self._let_go(child)
        # An attached device finds that its past is gone; a new session of this id gets a tail of its own.
        self._children.pop(session_id, None)
        child.tail.reset(child.tail.epoch + 1, 0)
        self.note_change(session_id)

    async def fork(
        self, session_id: str, after_turn: str | None, *, new_id: str, device_id: str, title: str | None
    ) -> None:
        """Make a session `new_id` out of another one's turns up to and including `after_turn`; None: out of none.

        Raises:
            SessionMissing, SessionExists, UnknownTurn, TurnRuns, StorageError: as `actors.fork`.
        """
        deps, at_ms = self._deps, self._deps.clock()
        new = await new_fork(deps.catalog, session_id, after_turn, new_id, device_id, at_ms)
        await Forking(deps.journal, deps.ownership, deps.catalog).fork(session_id, after_turn, new, title)
        self.note_change(new_id)

    async def _stop(self, child: _Child) -> None:
        if child.running:
            child.scope.cancel(reason="the session is to be removed")
        while child.running:
            await self._ended.park()

    async def _refuse_busy(self, child: _Child) -> None:
        record = await self._deps.catalog.get(child.session_id)
        if record is None:
            raise SessionMissing(child.session_id)
        if child.failed_at is None and has_work(record):
            raise SessionBusy(child.session_id)

    @property
    def deps(self) -> SessionDeps:
        """What every session works with."""
        return self._deps

    def is_live(self, session_id: str) -> bool:
        """Tell whether a session's actor runs, a device follows it, or it failed and may be revived."""
        return session_id in self._children

    def statistics(self) -> SupervisorStatistics:
        """Return counts of this moment."""
        children = self._children.values()
        return SupervisorStatistics(
            live_count=sum(child.running for child in children),
            failed_count=sum(child.failed_at is not None for child in children),
            crash_count=self._crash_count,
        )

    # ---- what is due ----

    async def keep_time(self) -> None:
        """Start the actors of sessions whose time comes while nobody uses them, until cancelled."""
        while True:
            self._rested = trio.Event()
            wait_s = CLOCK_S
            try:
                for session_id, at_ms in await self._deps.catalog.due(DUE_AT_ONCE):
                    left_s = (at_ms - self._deps.clock()) / 1000
                    if left_s > 0:
                        wait_s = min(wait_s, left_s)
                        break
                    wait_s = DUE_AGAIN_S
                    if not self._closing and session_id not in self._removing:
                        self._ensure_running(self._child(session_id))
            except StorageError as exc:
                log.warning("it is not known which sessions are due: %s", exc)
            with trio.move_on_after(wait_s):
                await self._rested.wait()

    # ---- start and stop ----

    async def recover(self) -> None:
        """Take over what an earlier server left: its living hubs, its open turns, its queues.

        Hubs that no session knows are killed with their trees. Call once, before devices come.

        Raises:
            StorageError: the sessions could not be read.
        """
        deps = self._deps
        unfinished = set(await deps.catalog.unfinished())
        orphans: list[str] = []
        wanted: set[str] = set()
        for found in await deps.hubs.living():
            record = await deps.catalog.get(found.session_id)
            known = (
                record is not None and record.summary is not None and record.summary.hub_id == found.hub_id
            )
            if known:  # also a dead one: what it left is to be journalled
                wanted.add(found.session_id)
            else:
                orphans.append(found.hub_id)
        await end_hubs(deps.hubs, orphans)  # before anything can be sent again
        for session_id in sorted(unfinished | wanted):
            self._ensure_running(self._child(session_id))

    async def close(self, *, stop_hubs: bool) -> None:
        """Stop all actors; then end every hub, or without `stop_hubs` only those of idle sessions.

        A hub in the middle of a turn continues alone and is taken over by the next server. Idempotent.
        """
        self._closing = True
        for child in self._children.values():
            child.scope.cancel(reason="supervisor closes")
        while any(child.running for child in self._children.values()):
            await self._ended.park()
        deps = self._deps
        busy: list[str] = []
        idle: list[str] = []
        for found in await deps.hubs.living():
            record = await deps.catalog.get(found.session_id)
            kept = record.summary if record is not None else None
            works = kept is not None and kept.unfinished and kept.hub_id == found.hub_id
            (busy if works else idle).append(found.hub_id)
        # Their files stay: what they wrote down while they ended is for the next server.
        await deps.hubs.stop([*idle, *busy] if stop_hubs else idle)

    # ---- children ----

    @property
    def _config(self) -> ActorConfig:
        return self._deps.config

    def _child(self, session_id: str) -> _Child:
        child = self._children.get(session_id)
        if child is None:
            config = self._config
            crashes = CrashRecord(config.restart_intensity, config.restart_period_s)
            child = _Child(session_id, Tail(session_id, epoch=1, head_seq=0), crashes)
            self._children[session_id] = child
        return child

    def _ensure_running(self, child: _Child) -> None:
        if not child.running:
            child.running = True
            self._nursery.start_soon(self._run_child, child, name=f"session {child.session_id}")

    async def _run_child(self, child: _Child) -> None:
        try:
            with child.scope:
                while await self._run_once(child):
                    pass
        finally:
            child.running = False
            self._rested.set()  # what it waited for is the clock's from now on
            child.scope = trio.CancelScope()
            self._ended.unpark_all()
            self._refuse_all(child, "the server is about to stop")
            self._let_go(child)

    async def _run_once(self, child: _Child) -> bool:
        """Run the session's actor to its end; tell whether to start it again."""
        actor = SessionActor(child.session_id, self._deps, child.mailbox, child.tail, self.note_change)
        died_of = await run_guarded(actor.run)
        if died_of is None:
            return not child.mailbox.is_empty
        cause = unwrap(died_of)
        if isinstance(cause, Fenced | HubFenced | SessionMissing):
            log.warning("session %s: no longer ours: %s", child.session_id, cause)
            self._turn_away(child, str(cause))
            return False
        self._crash_count += 1
        log.error("session %s: its actor crashed", child.session_id, exc_info=died_of)
        if not child.crashes.is_too_many(trio.current_time()):
            return True
        await self._give_up(child, f"{type(cause).__name__} too often")
        return child.failed_at is None  # somebody may have revived it while its end waited for storage

    async def _give_up(self, child: _Child, detail: str) -> None:
        child.failed_at = trio.current_time()
        self._turn_away(child, detail)
        died_of = await run_guarded(
            lambda: end_failed_session(self._deps, child.session_id, child.tail, detail)
        )
        if died_of is not None:
            log.error("session %s: its end could not be journalled", child.session_id, exc_info=died_of)
        self.note_change(child.session_id)

    def _turn_away(self, child: _Child, content: str) -> None:
        child.tail.post_nowait(SessionProblem("session_failed", f"the session failed: {content}"))
        self._refuse_all(child, f"the session failed: {content}")

    def _refuse_all(self, child: _Child, content: str) -> None:
        refuse(child.mailbox.take_nowait(), content, "shutting_down" if self._closing else "storage")

    def _let_go(self, child: _Child) -> None:
        idle = not child.running and child.failed_at is None and not child.tail.is_watched
        if idle and child.session_id not in self._removing and self._children.get(child.session_id) is child:
            del self._children[child.session_id]


@asynccontextmanager
async def open_supervisor(deps: SessionDeps) -> AsyncIterator[Supervisor]:
    """Run a supervisor while inside the block; leaving it stops all actors and no hub.

    Example:
        async with open_supervisor(deps) as supervisor:
            await supervisor.submit("trip", Envelope(Send("m1", "hello"), author, replies.append))
    """
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(deps, nursery)
        nursery.start_soon(supervisor.keep_time)
        try:
            yield supervisor
        finally:
            nursery.cancel_scope.cancel(reason="supervisor closes")
