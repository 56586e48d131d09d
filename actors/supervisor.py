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
from actors.fork import fork_session
from actors.recovery import end_failed_session, end_hubs, sort_hubs
from actors.session.actor import SessionActor
from actors.session.effect_runner import SessionDeps
from actors.session.mailbox import Mailbox, refuse
from actors.session.snapshot import has_work
from actors.tail import Following, Listener, SessionProblem, Tail, Watchers
from actors.timekeeper import Timekeeper
from bridgehub.protocol.errors import unwrap
from storage.errors import Fenced, SessionMissing, StorageUnavailable

__all__ = ["Hold", "Supervisor", "SupervisorStatistics", "open_supervisor"]

log = logging.getLogger("builderos.actors")


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
class Hold:
    """A session that is kept without its owner. `moves`: to another machine, so that commands may come again;
    `is_gone`: set by the holder once the session is not here any more."""

    moves: bool = False
    is_gone: bool = False


@attrs.define(eq=False)
class Supervisor:
    """Runs an actor for each session that is in use. Made by `open_supervisor` only.

    `on_fenced`: if several machines share the sessions: called after one was found to be another machine's.
    """

    _deps: SessionDeps
    _nursery: trio.Nursery
    _children: dict[str, _Child] = attrs.field(factory=dict)
    _watchers: Watchers = attrs.field(factory=Watchers)
    _held: dict[str, Hold] = attrs.field(factory=dict)
    _ended: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _crash_count: int = 0
    _closing: bool = False
    on_fenced: Callable[[], None] | None = None
    timekeeper: Timekeeper = attrs.field(init=False)

    @timekeeper.default
    def _new_timekeeper(self) -> Timekeeper:
        return Timekeeper(self._deps.catalog, self._deps.clock, self.start)

    # ---- the ports ----

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        """Hand a command to the session's actor, starting it if it is not live. See `CommandBus`."""
        if self._closing:
            raise ShuttingDown("the server is about to stop")
        self._refuse_held(session_id)
        if session_id not in self._children and await self._deps.catalog.get(session_id) is None:
            raise SessionMissing(session_id)
        if self._closing:
            raise ShuttingDown("the server is about to stop")
        self._refuse_held(session_id)
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
            if child.failed_at is None and not self._closing and session_id not in self._held:
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
        return self._watchers.watch(changed)

    def note_change(self, session_id: str) -> None:
        """Tell all who watch that a session's entry in a list may have changed. Never blocks."""
        self._watchers.tell(session_id)

    async def remove(self, session_id: str) -> None:
        """Remove a session for good: its owner stops, its hub ends, its devices are detached.

        Cancelled, it is removed or as it was; a hub that has ended starts again with the next message.

        Raises:
            SessionMissing: there is no such session, or somebody removes it already.
            SessionBusy: it has work to do, and continues.
            ShuttingDown: the server is about to stop.
            StorageUnavailable: as `Catalog.remove`.
        """
        async with self.held(session_id) as hold:
            hubs = [found for found in await self._deps.hubs.living() if found.session_id == session_id]
            await end_hubs(self._deps.hubs, [found.hub_id for found in hubs])
            await self._deps.catalog.remove(session_id)
            hold.is_gone = True

    @asynccontextmanager
    async def held(self, session_id: str, *, moves: bool = False, busy: bool = False) -> AsyncIterator[Hold]:
        """Keep a session stopped inside the block; afterwards it is as before, unless the holder says that it is gone:
        then attached devices must attach again. `busy`: also one that has work to do. Raises as `remove`."""
        if self._closing:
            raise ShuttingDown("the server is about to stop")
        self._refuse_held(session_id)
        child = self._child(session_id)
        was_running = child.running
        hold = self._held[session_id] = Hold(moves)
        try:
            if not busy:
                await self._refuse_busy(child)  # so that one at work is not even stopped
            await self._stop(child)
            if not busy:
                await self._refuse_busy(child)
            yield hold
        finally:
            del self._held[session_id]
            if hold.is_gone:
                # A new session of this id gets a tail of its own.
                self._children.pop(session_id, None)
                child.tail.reset(child.tail.epoch + 1, 0)
                self.note_change(session_id)
            elif was_running and not self._closing:
                self._ensure_running(self._child(session_id))  # its entry may have gone with its actor
            else:
                self._let_go(child)

    def _refuse_held(self, session_id: str) -> None:
        hold = self._held.get(session_id)
        if hold is not None and hold.moves:
            raise StorageUnavailable(f"session {session_id} moves to another machine; try again")
        if hold is not None:
            raise SessionMissing(session_id)

    async def fork(
        self, session_id: str, after_turn: str | None, *, new_id: str, device_id: str, title: str | None
    ) -> None:
        """Make a session `new_id` out of another one's turns up to and including `after_turn`; None: out of none.

        Raises:
            SessionMissing, SessionExists, UnknownTurn, TurnRuns, StorageError: as `actors.fork`.
        """
        await fork_session(self._deps, session_id, after_turn, new_id, device_id, title)
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

    @property
    def live(self) -> tuple[str, ...]:
        """The sessions for which `is_live` holds."""
        return tuple(self._children)

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

    # ---- start and stop ----

    async def recover(self) -> None:
        """Take over what an earlier server left: its living hubs, its open turns, its queues.

        Hubs that no session knows are killed with their trees. Call once, before devices come.

        Raises:
            StorageError: the sessions could not be read.
        """
        unfinished = set(await self._deps.catalog.unfinished())
        wanted, strays = await sort_hubs(self._deps)
        await end_hubs(self._deps.hubs, strays)  # before anything can be sent again
        for session_id in sorted(unfinished | wanted):
            self.start(session_id)

    def start(self, session_id: str) -> None:
        """Run a session's actor, which has something to do that nobody asked for. Never blocks."""
        if not self._closing and session_id not in self._held:
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
            self.timekeeper.look()  # what it waited for is the clock's from now on
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
            if self.on_fenced is not None and isinstance(cause, Fenced):
                self._refuse_all(child, "the session is on another machine now; send it once more")
                self.on_fenced()
            else:
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
        if idle and child.session_id not in self._held and self._children.get(child.session_id) is child:
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
        nursery.start_soon(supervisor.timekeeper.run)
        nursery.start_soon(deps.quiet.run)
        try:
            yield supervisor
        finally:
            nursery.cancel_scope.cancel(reason="supervisor closes")
