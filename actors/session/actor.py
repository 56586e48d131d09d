"""One live session: takes commands and hub events, commits what they mean, then does it and shows it.

The loop is the whole discipline. A batch of inputs is stepped over the pure state; one append commits all its events;
only then do its effects run and do devices see it. If the append fails the state is thrown away and loaded again, as
after a crash: what was not committed never happened.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Literal

import attrs
import trio

from actors.commands import Envelope, Interrupt
from actors.events.codec import encode_entry
from actors.events.committed import BULK_KINDS, Committed
from actors.events.pieces import join_pieces
from actors.session.effect_runner import EffectRunner, SessionDeps
from actors.session.effects import AnswerCommand, Effect, HandOver, SteerHub
from actors.session.hub_owner import HubOwner
from actors.session.inputs import IdleTooLong, Input, Resume, TimeCame
from actors.session.loading import STORAGE_DOWN, load_state, was_stored
from actors.session.mail_reader import MailReader
from actors.session.mailbox import Mail, Mailbox, refuse
from actors.session.snapshot import summary
from actors.session.state import SessionState
from actors.session.steps.decide import decide
from actors.session.steps.step import Step
from actors.session.timers import Timers
from actors.tail import SessionProblem, Tail
from storage.errors import OutcomeUnknown, StorageError, StorageUnavailable
from storage.records import Entry, Grant, SessionRecord

__all__ = ["SessionActor"]

log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class SessionActor:
    """The one task that writes a session's events. `mailbox` and `tail` are the supervisor's and outlive it.

    Attributes:
        changed: called after each commit that the session's entry in a list may show, and for a session that is new.
            An actor that is spawned alone has nobody to call.
    """

    session_id: str
    deps: SessionDeps
    mailbox: Mailbox
    tail: Tail
    changed: Callable[[str], None] = lambda session_id: None
    _record: SessionRecord = attrs.field(init=False)
    _grant: Grant = attrs.field(init=False)
    _is_owner: bool = False
    _state: SessionState = attrs.field(init=False)
    _owner: HubOwner = attrs.field(init=False)
    _effects: EffectRunner = attrs.field(init=False)
    _timers: Timers = attrs.field(init=False)
    _reader: MailReader = attrs.field(init=False)
    _committed_hub: tuple[str | None, int] = (None, 0)
    _recovered_at: float = -math.inf
    _taken: list[Mail] = attrs.field(factory=list)
    _shown_turn: str | None = None
    _held_stop: Envelope | None = None

    async def run(self) -> None:
        """Serve the session until nobody needs it any more, or until cancelled.

        Raises:
            Fenced, HubFenced: another owner has the session.
            StorageError: the journal is damaged.
            Exception: a defect; the supervisor starts the actor again from the journal.
        """
        try:
            while await self._live() == "reload":
                await self._wait_for_storage()
        except Exception:
            refuse(self._taken, "the session was started again; send it once more")
            raise
        finally:
            if self._held_stop is not None:
                refuse([self._held_stop], "the session ended before the turn could be stopped")

    async def _live(self) -> Literal["reload", "leave"]:
        try:
            await self._load()
        except STORAGE_DOWN as exc:
            return self._refuse(exc)
        async with trio.open_nursery() as nursery:
            self._effects.serve_in(nursery)
            verdict = await self._serve()
            nursery.cancel_scope.cancel(reason=f"session actor: {verdict}")
        return verdict

    async def _load(self) -> None:
        deps = self.deps
        # A reload keeps its grant: a stale owner must not take the session back by one.
        if not self._is_owner:
            self._grant = await deps.ownership.acquire(self.session_id)
            self._is_owner = True
        self._record, self._state = await load_state(deps.catalog, deps.journal, self.session_id)
        state = self._state
        state.allows_bypass = deps.allows_bypass(state.agent_type)
        self._committed_hub = (state.hub_id, state.hub_seq)
        self._shown_turn = None if state.turn is None else state.turn.turn_id
        self.mailbox.drop_hub_mail()
        self.tail.reset(state.epoch, state.head_seq)
        self._owner = HubOwner(
            self.session_id,
            deps.hubs,
            self.mailbox,
            self._grant.owner_epoch,
            self._acked,
            deps.lateness,
        )
        self._effects = EffectRunner(
            deps, self._record, state, self._owner, self.mailbox, self.tail, self.changed
        )
        self._timers = Timers(deps.config, deps.clock, state, self._owner, self._effects, self.tail)
        self._reader = MailReader(self.session_id, deps, state, self._effects, self.tail, self._timers)
        for hub_id in state.leaving:
            self._owner.finish(hub_id)
        if state.hub_id is not None:
            self._owner.adopt(state.hub_id)
        if state.head_seq == 0:
            self.changed(self.session_id)  # it may be new: no event shows that

    def _acked(self, hub_id: str) -> int:
        known, seq = self._committed_hub
        return seq if known == hub_id else 0

    # ---- the loop ----

    async def _serve(self) -> Literal["reload", "leave"]:
        self._taken = [] if self._held_stop is None else [self._held_stop]
        self._held_stop = None
        given: Sequence[Input] | None = [
            Resume(self._reader.revoked_keys()),
            *await self._reader.read(self._taken),
        ]
        while given is not None:
            if not await self._settle(given):
                return "reload"
            given = None  # an actor that waits keeps nothing of what it did last
            try:
                given = await self._next_inputs()
            except StorageUnavailable as exc:
                return self._refuse(exc)
        return "leave"

    async def _settle(self, given: Sequence[Input]) -> bool:
        """Step one batch and see it through; False if storage did not take it."""
        step = Step(self._state, self.deps.clock(), self.deps.new_id)
        for one in given:
            decide(step, one)
        committed = await self._commit(step)
        if committed is None:
            return False
        self._taken = []  # from here on nobody is refused: what was asked for is done
        try:
            await self._act(step.effects, *committed)
        except STORAGE_DOWN as exc:  # what was lost of the effects is made good after the reload
            self._refuse(exc)
            return False
        return True

    async def _next_inputs(self) -> list[Input] | None:
        """Wait for mail, or for a deadline of the session's own; None if the actor may leave."""
        mailbox = self.mailbox
        while True:
            due = self._timers.next_at()
            if trio.current_time() >= due and (mailbox.is_empty or self._state.turn is not None):
                return self._overdue()
            if not mailbox.is_empty:
                break
            if due == math.inf:
                await mailbox.wait()  # without a scope: that costs at every piece, and memory while idle
            else:
                with trio.move_on_at(due):
                    await mailbox.wait()
            if mailbox.is_empty:
                mailbox.take_nowait()  # a poke, or a moment that came: look at the deadlines again
        self._taken = mailbox.take_nowait()
        return await self._reader.read(self._taken)

    def _overdue(self) -> list[Input] | None:
        state, timers = self._state, self._timers
        if timers.queue_due_s() <= 0:
            return [TimeCame(self._reader.revoked_keys())]
        if trio.current_time() < timers.own_at():
            return []  # only the clock was looked at
        if state.turn is not None:
            # The hub did not end the turn, or take its prompt, in time: end the hub; its `HubGone` brings the rest.
            timers.stop_at, timers.idle_since = math.inf, trio.current_time()
            if state.hub_id is not None:
                self._owner.end(state.hub_id, "kill")
            return []
        return [IdleTooLong()] if state.hub_id is not None else None

    # ---- commit, then act ----

    async def _commit(self, step: Step) -> tuple[list[Committed], list[Entry]] | None:
        """Append what was decided; None if it is certain that nothing was stored."""
        state = self._state
        items = join_pieces(step.events, starts=step.starts) if len(step.events) > 1 else step.events
        hub = (state.hub_id, state.hub_seq)
        new_hub = state.hub_id is not None and state.hub_id != self._committed_hub[0]
        # A hub that was just started knows of no later owner: only the journal can tell that this one is stale.
        hands_over = any(isinstance(effect, HandOver | SteerHub) for effect in step.effects)
        if not items and not state.control_dirty and hub == self._committed_hub and not hands_over:
            return [], []
        durable = any(item.turn_id is None or item.event.kind not in BULK_KINDS for item in items)
        durable = durable or new_hub or (not items and state.control_dirty)
        entries = [encode_entry(item) for item in items]
        expected = state.head_seq - sum(entry.span for entry in entries)
        try:
            await self.deps.journal.append(
                self._grant, expected, entries, fold=step.folds, durable=durable, summary=summary(state)
            )
        except OutcomeUnknown:
            log.exception("session %s: asking the journal what became of an append", self.session_id)
            if not await self._came_through(expected):
                self._refuse(StorageUnavailable("the write did not come through"))
                return None
        except StorageUnavailable as exc:
            self._refuse(exc)
            return None
        self._committed_hub = hub
        self._shown_turn = None if state.turn is None else state.turn.turn_id
        return items, entries

    def _refuse(self, exc: StorageError) -> Literal["reload"]:
        log.warning("session %s: storage takes no writes: %s", self.session_id, exc)
        self._reject_all(self._taken, f"nothing was stored: {exc}")
        self.tail.post_nowait(SessionProblem("storage", str(exc)))
        return "reload"

    async def _came_through(self, expected: int) -> bool:
        """Return whether an append was stored; while the journal does not answer, devices see why nothing happens."""
        shown = False

        def waits(content: str) -> None:
            nonlocal shown
            if not shown:
                self.tail.post_nowait(SessionProblem("storage", content))
            shown = True

        retry_s = self.deps.config.storage_retry_s
        stored = await was_stored(self.deps.journal, self.session_id, expected, retry_s, waits)
        if stored and shown:
            self.tail.post_nowait(SessionProblem(None, "storage takes writes again"))
        return stored

    async def _act(
        self, effects: Sequence[Effect], items: Sequence[Committed], entries: Sequence[Entry]
    ) -> None:
        """Run the effects of committed events. Answers go out before anybody can see the events."""
        for effect in effects:
            if isinstance(effect, AnswerCommand):
                effect.to(effect.reply)
        self.tail.publish_nowait(items, [len(entry.payload) for entry in entries])
        if items:
            self.deps.quiet.published(self.tail)
        for effect in effects:
            await self._effects.run(effect, items)
        hub_id, hub_seq = self._committed_hub
        if hub_id is not None:
            self._owner.acknowledge(hub_seq)
        turn = self._state.turn
        if turn is not None or hub_id is None:
            self.deps.warming.release(self.session_id)
        self._timers.note(items)
        if any(item.event.kind not in BULK_KINDS for item in items):
            self.changed(self.session_id)

    # ---- trouble ----

    async def _wait_for_storage(self) -> None:
        """Wait until the journal reads and writes again; refuse what comes meanwhile."""
        retry_s, content = self.deps.config.storage_retry_s, "storage is unavailable"
        waits = trio.current_time() - self._recovered_at < retry_s  # it came back just now, and failed again
        while True:  # noqa: ASYNC913 - asks storage, which waits
            if waits:
                with trio.move_on_after(retry_s):
                    while True:
                        self._reject_all(self.mailbox.take_nowait(), f"nothing was stored: {content}")
                        await self.mailbox.wait()
            waits = True
            try:
                await self.deps.journal.check_writable()
                await self.deps.catalog.get(self.session_id)
            except STORAGE_DOWN as exc:
                content = str(exc)
            else:
                self._recovered_at = trio.current_time()
                self.tail.post_nowait(SessionProblem(None, "storage takes writes again"))
                return

    def _reject_all(self, mail: Sequence[Mail], content: str) -> None:
        """Refuse what storage does not take. One wish to stop the running turn is kept, and is the first thing that
        is committed once it can be: a person who pressed Stop need not press it again."""
        self._taken = []
        for one in mail:
            if not isinstance(one, Envelope) or not isinstance(one.command, Interrupt):
                refuse([one], content)
                continue
            turn_id = one.command.turn_id or self._shown_turn
            if turn_id is None or turn_id != self._shown_turn:
                refuse([one], content)
            elif self._held_stop is None:
                # Of the turn that the person saw, not of one that may run by then.
                self._held_stop = attrs.evolve(one, command=Interrupt(turn_id))
