"""Owns the hub of one session: starts it, keeps a link to it, ends it, and says what became of it.

Orders come from the session's actor after a commit and never wait. Hubs of one session live one after the other: the next
is started only when the one before is dead with its whole tree (`docs/internals/hubs.md`). What is sent while no link is
up is dropped on purpose: `HubReady` makes the session say again whatever still matters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import attrs
import trio

from actors.errors import HubError, HubLost, HubProtocolError, HubStartFailed
from actors.ports import HubLink, Hubs
from actors.session.ack_pacer import AckPacer, Lateness
from actors.session.inputs import HubGone, HubReady
from actors.session.mailbox import HubBatch, Mailbox
from bridgehub.protocol.events import TextPiece
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Prompt, Reported, Stop, ToHub

__all__ = ["HubOwner"]

log = logging.getLogger("builderos.actors")

STOP_S = 2.0
"""Time for a hub to end by itself after `Stop`; then its tree is killed."""

RELINK_FIRST_S = 0.02
RELINK_MOST_S = 2.0
"""Wait before a hub that lives but takes no link is tried a third time; doubled each time. It is never killed for
that: the cause may be this server (no file descriptors left, say), and the hub has an agent at work."""

SLICE_EVENTS = 128
SLICE_LENGTH = 256 * 1024
"""Events, and code points of text, that the session steps over at once: a step holds up the event loop."""

TELLS_WAITING = 1024
"""Messages that a hub may leave unread; one that reads nothing at all is ended, with its tree."""

CLEANUP_S = 0.5
"""Shield around closing a link: what is lost when it fires is only the polite end of a socket."""


@attrs.define(eq=False)
class _Life:
    """One hub, from its start or adoption until it is reaped."""

    hub_id: str
    spec: HubSpec | None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ending: Literal["stop", "kill"] | None = None
    last_prompt: str | None = None
    was_found: bool = False


@attrs.define(eq=False)
class HubOwner:
    """The owner of one session's hubs.

    Attributes:
        acked: returns the last event of a hub that is committed.
        lateness: of all sessions, for `AckPacer`.
    """

    session_id: str
    hubs: Hubs
    mailbox: Mailbox
    owner_epoch: int
    acked: Callable[[str], int]
    lateness: Lateness = attrs.field(factory=Lateness)
    _lives: list[_Life] = attrs.field(factory=list)
    _link: HubLink | None = None
    _outbox: list[ToHub] = attrs.field(factory=list)
    _acks: AckPacer = attrs.field(init=False)
    _wake_writer: trio.Event | None = None
    _nursery: trio.Nursery | None = None
    _runs: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether no hub lives or is being ended."""
        return not self._lives

    @property
    def is_linked(self) -> bool:
        """Whether a link to the living hub is up."""
        return self._link is not None

    # ---- orders; none of them waits ----

    def start(self, spec: HubSpec) -> None:
        """Start a new hub once the one before is dead."""
        self._add(_Life(spec.hub_id, spec))

    def adopt(self, hub_id: str) -> None:
        """Take over a hub that an earlier owner started; dead or alive, its news will tell."""
        self._add(_Life(hub_id, None))

    def end(self, hub_id: str, ending: Literal["stop", "kill"]) -> None:
        """End a hub: politely, or at once with its tree. Ordered again, the stronger one counts."""
        for life in self._lives:
            if life.hub_id == hub_id and life.ending != "kill":
                life.ending = ending
                life.scope.cancel(reason=f"hub is to {ending}")

    def finish(self, hub_id: str) -> None:
        """Kill a hub that an earlier owner had released and not reaped."""
        life = _Life(hub_id, None, ending="kill")
        life.scope.cancel(reason="hub was let go")
        self._add(life)

    def tell(self, message: ToHub) -> None:
        """Say something to the living hub; dropped if no link is up."""
        if self._link is not None:
            if isinstance(message, Prompt):
                self._lives[0].last_prompt = message.turn_id
            self._outbox.append(message)
            self._wake_write()
            if len(self._outbox) > TELLS_WAITING:
                log.error("session %s: stopping hub: it does not read from its socket", self.session_id)
                self._outbox.clear()
                self.end(self._lives[0].hub_id, "kill")

    def acknowledge(self, seq: int) -> None:
        """Let the hub forget what is committed, soon. Only the newest is sent."""
        if self._link is not None and self._acks.committed(seq, trio.current_time()):
            self._wake_write()

    def _wake_write(self) -> None:
        if self._wake_writer is not None:
            self._wake_writer.set()

    # ---- the task ----

    def serve_in(self, nursery: trio.Nursery) -> None:
        """Follow one hub after the other in this nursery, until it is cancelled. A hub outlives it.

        There is a task only while there is a hub. It raises HubFenced if a later owner has the hub: then the session must
        not be written any more.
        """
        self._nursery = nursery
        self._run_soon()

    def _add(self, life: _Life) -> None:
        self._lives.append(life)
        self._run_soon()

    def _run_soon(self) -> None:
        if self._nursery is not None and self._lives and not self._runs:
            self._runs = True
            self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        while self._lives:
            await self._live(self._lives[0])
            del self._lives[0]
            self._runs = bool(self._lives)
            self.mailbox.wake()

    async def _live(self, life: _Life) -> None:
        """See one hub through to its end, and say so."""
        gone = HubGone(life.hub_id, "died")
        life.was_found = life.spec is not None or await self.hubs.find(life.hub_id) is not None
        with life.scope:
            try:
                if life.spec is not None:
                    await self.hubs.start(life.spec)
                await self._keep_linked(life.hub_id)
            except HubStartFailed as exc:
                gone = HubGone(life.hub_id, "not_started", str(exc))
            except HubProtocolError as exc:
                gone = HubGone(life.hub_id, "garbage", str(exc))
            except HubLost as exc:
                log.info("session %s: hub %s is gone: %s", self.session_id, life.hub_id, exc)
                if not life.was_found:
                    gone = HubGone(life.hub_id, "never_started")
        if life.ending == "stop":
            await self._stop_politely(life.hub_id)
        after = self.acked(life.hub_id)
        while left := await self.hubs.reap(life.hub_id, last_seq=after):
            for events in _slices(left):
                await self.mailbox.put_from_hub(HubBatch(life.hub_id, events))
            after = left[-1].seq
        await self.mailbox.put_from_hub(attrs.evolve(gone, last_prompt=life.last_prompt))

    async def _keep_linked(self, hub_id: str) -> None:
        """Link to the hub, again and again while it lives. Raises HubLost once its process is gone."""
        wait_s = 0.0
        while True:
            heard = False
            try:
                heard = await self._link_once(hub_id)
            except HubLost as exc:
                found = await self.hubs.find(hub_id)  # noqa: ASYNC120 - the error that is raised again names the lost link
                if found is None or not found.alive:
                    raise
                log.warning("session %s: cannot connect to hub %s: %s", self.session_id, hub_id, exc)
            if heard:
                wait_s = 0.0
            await trio.sleep(wait_s)
            wait_s = min(max(wait_s * 2, RELINK_FIRST_S), RELINK_MOST_S)

    async def _link_once(self, hub_id: str) -> bool:
        link = await self.hubs.connect(hub_id, owner_epoch=self.owner_epoch, last_seq=self.acked(hub_id))
        try:
            return await self._serve(hub_id, link)
        finally:
            self._link = None
            with trio.move_on_after(CLEANUP_S, shield=True):
                await link.aclose()

    async def _serve(self, hub_id: str, link: HubLink) -> bool:
        """Carry messages both ways until the link breaks; tell whether any event came."""
        # First what the hub had said before the welcome, so that the session judges by what it knows then. Then the
        # welcome, and only then the link: what is sent before the session saw the welcome is dropped, since the
        # welcome was made before it and would make the session judge by an older word.
        self._acks = AckPacer(self.lateness)
        await self._catch_up(hub_id, link)
        await self.mailbox.put_from_hub(HubReady(hub_id, link.welcome))
        self._outbox.clear()
        self._link = link
        heard = False
        failure: HubError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, link, nursery.cancel_scope)
            try:
                while True:
                    batch = await link.receive()
                    heard = True
                    await self._receive(hub_id, batch)
            except HubError as exc:  # kept, and raised outside, so that no group wraps it
                failure = exc
                nursery.cancel_scope.cancel(reason="link lost")
        return _heard_until(failure, heard=heard)

    async def _catch_up(self, hub_id: str, link: HubLink) -> None:
        """Bring the session what the hub said before its welcome. Raises HubError."""
        seq = self.acked(hub_id)
        while seq < link.welcome.head_seq:
            batch = await link.receive()
            await self._receive(hub_id, batch)
            seq = batch[-1].seq if batch else seq

    async def _receive(self, hub_id: str, batch: Sequence[Reported]) -> None:
        """Bring the session what the hub reports; it is acknowledged once it is committed."""
        self._acks.received(batch)
        for events in _slices(batch):
            await self.mailbox.put_from_hub(HubBatch(hub_id, events))

    async def _write(self, link: HubLink, broken: trio.CancelScope) -> None:
        try:
            while True:  # noqa: ASYNC913 - sends, or waits for something to send
                while self._outbox:
                    await link.send(self._outbox.pop(0))
                now = trio.current_time()
                if now >= self._acks.due_at:
                    await link.send(self._acks.take(now))
                else:
                    self._wake_writer = trio.Event()
                    with trio.move_on_at(self._acks.due_at):
                        await self._wake_writer.wait()
        except HubLost:
            broken.cancel(reason="link lost")

    async def _stop_politely(self, hub_id: str) -> None:
        with trio.move_on_after(STOP_S):  # noqa: ASYNC912 - connects
            try:
                link = await self.hubs.connect(
                    hub_id, owner_epoch=self.owner_epoch, last_seq=self.acked(hub_id)
                )
                try:
                    await link.send(Stop())
                    while True:
                        await link.receive()
                finally:
                    with trio.move_on_after(CLEANUP_S, shield=True):
                        await link.aclose()
            except (HubLost, HubProtocolError):
                return


def _heard_until(failure: HubError | None, *, heard: bool) -> bool:
    """Return `heard` if only the link broke; else raise what went wrong with the hub itself."""
    if failure is None or isinstance(failure, HubLost):
        return heard
    raise failure


def _slices(events: Sequence[Reported]) -> Iterator[Sequence[Reported]]:
    """Cut a batch so that no step over a slice takes long."""
    start = length = 0
    for number, reported in enumerate(events):
        length += len(reported.event.text) if isinstance(reported.event, TextPiece) else 0
        if number + 1 - start >= SLICE_EVENTS or length >= SLICE_LENGTH:
            yield events[start : number + 1]
            start, length = number + 1, 0
    if start < len(events):
        yield events[start:]
