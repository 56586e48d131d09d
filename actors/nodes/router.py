"""The sessions of all nodes, for this node's connections: each goes to its home, here or elsewhere.

It is `CommandBus`, `LiveBus` and the watch of the list, in front of the supervisor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final

import attrs
import trio

from actors.commands import Attach, Envelope
from actors.errors import MachineAway
from actors.nodes.calls import HomeCalls
from actors.nodes.home import SessionsAtHome
from actors.nodes.list_changes import ListChanges
from actors.nodes.mail import (
    AnswerMail,
    BadMail,
    CallMail,
    ChangedMail,
    MoreMail,
    NoteMail,
    PartMail,
    ReplyMail,
    TailMail,
    TakenMail,
    decode_mail,
)
from actors.nodes.node_answers import NodeAnswers
from actors.nodes.node_calls import NodeCalls
from actors.nodes.notes import NodeNotes
from actors.nodes.ports import KEYS_S, Post
from actors.nodes.replicas import LOOK_S, SILENT, Replicas
from actors.ports import Catalog, Journal
from actors.replies import Rejected, Reply, SessionView
from actors.session.loading import load_state
from actors.session.mailbox import refuse
from actors.session.snapshot import view
from actors.supervisor import Supervisor
from actors.tail import AttachedDevice, Listener, Tail
from storage.errors import SessionMissing, StorageError
from storage.node_records import Mail

__all__ = ["Router"]

MOVED: Final = "moved"
"""The kind of a note."""

KNOWN_S: Final = 5.0
"""How long a command waits until this node knows which keys are valid."""

MAX_HOMES: Final = 100_000

log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class Router:
    """Leads to each session's home. `run` works in the background; `take` gets the mail of the other nodes.

    `look_after_moved`: called if sessions of this node may have another home now. Must not block.
    """

    own: Supervisor
    post: Post
    calls: HomeCalls
    node_calls: NodeCalls
    at_home: SessionsAtHome
    answers: NodeAnswers
    catalog: Catalog
    journal: Journal
    replicas: Replicas
    nursery: trio.Nursery
    notes: NodeNotes
    look_after_moved: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    _homes: dict[str, str] = attrs.field(factory=dict, init=False)
    _list: ListChanges = attrs.field(init=False)
    _alive: dict[str, tuple[int, bool]] = attrs.field(factory=dict, init=False)

    @_list.default
    def _make_list(self) -> ListChanges:
        return ListChanges(self.post, self.catalog)

    def __attrs_post_init__(self) -> None:
        self.replicas.found_at = self._move
        self.notes.hear(MOVED, self._hear_moved)

    # ---- the ports ----

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        """Hand a command to the session's home. See `CommandBus`. A home that is away refuses; who attaches then gets
        the session as it was left.

        A node that stood still does not know yet whose key was revoked meanwhile, so its commands wait for a beat.
        """
        if self.post.silent_s > KEYS_S and not await self.post.is_fresh(KEYS_S, KNOWN_S):
            refuse([envelope], SILENT.content, "storage")
            return
        if self.at_home.is_revoked(envelope.author.key_id):
            refuse([envelope], "This key was revoked.", "forbidden")
            return
        home = await self.home_of(session_id)
        try:
            await self._submit(home, session_id, envelope)
        except SessionMissing as error:
            missing = error
        else:
            return
        self._homes.pop(session_id, None)  # it was moved, or made again at another home
        moved_to = await self.home_of(session_id)
        if moved_to == home:
            raise missing
        await self._submit(moved_to, session_id, envelope)

    async def _submit(self, home: str, session_id: str, envelope: Envelope) -> None:
        if home == self.post.node:
            await self.own.submit(session_id, envelope)
            return
        if isinstance(envelope.command, Attach):
            reply = partial(self._begin, session_id, home, envelope.reply)
            envelope = attrs.evolve(envelope, reply=reply)
        try:
            await self.calls.submit(home, session_id, envelope)
        except MachineAway as away:
            if isinstance(envelope.command, Attach):
                envelope.reply(view((await load_state(self.catalog, self.journal, session_id))[1]))
            elif not await self.calls.answered(session_id, envelope):
                refuse([envelope], str(away), "machine_away")

    async def home_of(self, session_id: str) -> str:
        """Return the node of a session. Raises SessionMissing, StorageError."""
        known = self._homes.get(session_id)
        if self.own.is_live(session_id):
            known = self._homes[session_id] = self.post.node
        elif known is None or known == self.post.node or not self._is_alive(known):
            # What is known of an own session may be old; and from a home that is away sessions are moved by force.
            record = await self.catalog.get(session_id)
            if record is None:
                raise SessionMissing(session_id)
            if len(self._homes) >= MAX_HOMES:
                self._homes.clear()
            known = self._homes[session_id] = record.owner
        return known

    def _is_alive(self, node: str) -> bool:
        state = self.post.nodes.get(node)
        return state is not None and state.is_alive

    def known_home_of(self, session_id: str) -> str | None:
        """Return the node of a session that was just used; None if it is not known."""
        return self.post.node if self.own.is_live(session_id) else self._homes.get(session_id)

    @contextmanager
    def listen(self, session_id: str, listener: Listener) -> Iterator[Tail]:
        """Follow a session while inside the block. See `LiveBus`. Its home is known by an earlier command.

        Raises:
            SessionMissing: it is not.
        """
        home = self.known_home_of(session_id)
        if home is None:
            raise SessionMissing(session_id)
        if home == self.post.node:
            with self.own.listen(session_id, listener) as tail:
                yield tail
        else:
            with self.replicas.of(session_id, home).tail.listen(listener) as tail:
                yield tail

    def listeners(self) -> Iterator[Listener]:
        """Yield all that listen to a session at this node."""
        yield from self.own.listeners()
        yield from self.replicas.listeners()

    def watch(self, changed: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call `changed` with the id of every session of any node whose entry in a list may have changed."""
        return self._list.watch(changed)

    # ---- what comes ----

    def take(self, mail: Sequence[Mail]) -> None:
        """Take mail of other nodes. Never blocks or raises."""
        for one in mail:
            try:
                given = decode_mail(one.body)
            except BadMail as error:
                log.warning("mail of another node is left out: %s", error)
                continue
            if isinstance(given, TakenMail | ReplyMail):
                self.calls.take(given)
            elif isinstance(given, AnswerMail | PartMail):
                self.node_calls.take(given)
            elif isinstance(given, CallMail | MoreMail):
                self.answers.take(given, one.age_s)
            elif isinstance(given, TailMail):
                self.replicas.take(given)
            elif isinstance(given, ChangedMail):
                self._list.take(given)
            elif isinstance(given, NoteMail):
                self.notes.take(given)
            else:
                self.at_home.take(given, one.age_s)

    def moved(self, session_id: str, home: str) -> None:
        """Note that a session has another home now; if that is this node, let the others know. Never blocks."""
        self._move(session_id, home)
        if home == self.post.node:
            self.notes.let_know(MOVED, {"session": session_id})

    def _hear_moved(self, home: str, fields: dict[str, Any]) -> None:
        """Take the note of a node that it is the home of a session now."""
        self._move(str(fields["session"]), home)

    def _move(self, session_id: str, home: str) -> None:
        """Lead to another home from now on. The devices of a replica of the old one must attach again."""
        self._homes[session_id] = home
        self.replicas.leave(session_id, home)
        if home != self.post.node and self.own.is_live(session_id):
            self.look_after_moved()
        self._list.tell(session_id)

    def nodes_changed(self) -> None:
        """A node came, went, or started again, or this one was away. Never blocks."""
        self.look_after_moved()
        now = {one.id: (one.incarnation, one.is_alive) for one in self.post.nodes.values()}
        moved = {name for name in {*now, *self._alive} if now.get(name) != self._alive.get(name)}
        self._alive = now
        self._look_at_calls()
        for session_id in self.replicas.homes_changed(moved):
            self._list.tell(session_id)
        self.nursery.start_soon(self._list.tell_top, moved)

    # ---- replicas ----

    def _begin(self, session_id: str, home: str, reply: Callable[[Reply], None], answer: Reply) -> None:
        """Pass on the answer to an attach; the replica is then where it is."""
        if not isinstance(answer, SessionView):
            reply(answer)
        elif self.calls.waits(session_id):
            self.nursery.start_soon(self._begin_settled, session_id, home, reply, answer)
        else:
            self.replicas.of(session_id, home).begin(answer.epoch, answer.head_seq)
            reply(answer)

    async def _begin_settled(
        self, session_id: str, home: str, reply: Callable[[Reply], None], found: SessionView
    ) -> None:
        """The same, once those messages are answered whose answer was lost and whose events are shown then."""
        replica = self.replicas.of(session_id, home)
        try:
            await self.calls.settle(session_id, replica.tail.head_seq, found.head_seq)
        except StorageError as error:
            reply(Rejected("storage", str(error)))
            return
        replica.begin(found.epoch, found.head_seq)
        reply(found)

    def tell_others(self, session_id: str, others: tuple[AttachedDevice, ...]) -> None:
        """Note which devices at other nodes are attached to a session, as its home said."""
        replica = self.replicas.known(session_id)
        if replica is not None:
            replica.tail.others = others

    # ---- in the background ----

    async def run(self) -> None:
        """Keep following, and report changes, until cancelled."""
        with self.own.watch(self._list.note):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._list.run)
                nursery.start_soon(self.replicas.run)
                while True:
                    self._look_at_calls()
                    await trio.sleep(LOOK_S)

    def _look_at_calls(self) -> None:
        self.calls.look()
        self.node_calls.look()
        self.answers.look()
