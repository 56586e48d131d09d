"""The sessions of all nodes, for this node's connections: each goes to its home, here or elsewhere.

It is `CommandBus`, `LiveBus` and the watch of the list, in front of the supervisor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final

import attrs
import trio

from actors.commands import Attach, Envelope
from actors.errors import MachineAway
from actors.nodes.calls import HomeCalls
from actors.nodes.home import SessionsAtHome
from actors.nodes.mail import (
    AnswerMail,
    BadMail,
    CallMail,
    ChangedMail,
    FollowingMail,
    FollowMail,
    MoreMail,
    PartMail,
    ReplyMail,
    TailMail,
    TakenMail,
    decode_mail,
    encode_mail,
)
from actors.nodes.node_answers import NodeAnswers
from actors.nodes.node_calls import NodeCalls
from actors.nodes.ports import SILENT_S, Heads, Post
from actors.nodes.replica import Replica, ReplicaTail
from actors.ports import Catalog, Journal
from actors.replies import Reply, SessionView
from actors.session.loading import load_state
from actors.session.mailbox import refuse
from actors.session.snapshot import view
from actors.supervisor import Supervisor
from actors.tail import AttachedDevice, Listener, SessionProblem, Tail, Watchers
from storage.errors import SessionMissing, StorageError
from storage.node_records import Mail

__all__ = ["Router"]

LOOK_S: Final = 1.0
"""How often the homes hear again who follows, and the database is asked how far those sessions are."""

WHOLE_EVERY: Final = 10
"""Looks after which a home gets all of it again."""

UNUSED_S: Final = 30.0
"""How long a replica stays that nobody listens to: somebody may be about to."""

CHANGES_S: Final = 0.2
"""The least time between two mails about changed sessions."""

MAX_HOMES: Final = 100_000

LISTED: Final = 200
"""Sessions whose entries are sent again after a node came or went: those at the top of the list."""

_SILENT: Final = SessionProblem(
    "storage", "This machine does not reach the database, so the session may be further on."
)

log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class _Followed:
    """A replica, and since when nobody listens to it; None while somebody does."""

    replica: Replica
    scope: trio.CancelScope
    unused_at: float | None


@attrs.define(eq=False)
class Router:
    """Leads to each session's home. `run` works in the background; `take` gets the mail of the other nodes."""

    own: Supervisor
    post: Post
    calls: HomeCalls
    node_calls: NodeCalls
    at_home: SessionsAtHome
    answers: NodeAnswers
    catalog: Catalog
    journal: Journal
    heads: Heads
    nursery: trio.Nursery
    _homes: dict[str, str] = attrs.field(factory=dict, init=False)
    _followed: dict[str, _Followed] = attrs.field(factory=dict, init=False)
    _watchers: Watchers = attrs.field(factory=Watchers, init=False)
    _changed: dict[str, None] = attrs.field(factory=dict, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _alive: dict[str, tuple[int, bool]] = attrs.field(factory=dict, init=False)

    # ---- the ports ----

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        """Hand a command to the session's home. See `CommandBus`. A home that is away refuses; who attaches then gets
        the session as it was left."""
        home = await self.home_of(session_id)
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
            else:
                refuse([envelope], str(away), "machine_away")
        except SessionMissing:
            self._homes.pop(session_id, None)  # it may have been made again at another home
            raise

    async def home_of(self, session_id: str) -> str:
        """Return the node of a session. Raises SessionMissing, StorageError."""
        known = self._homes.get(session_id)
        if self.own.is_live(session_id):
            known = self._homes[session_id] = self.post.node
        elif known is None or known == self.post.node:
            record = await self.catalog.get(session_id)
            if record is None:
                raise SessionMissing(session_id)
            if len(self._homes) >= MAX_HOMES:
                self._homes.clear()
            known = self._homes[session_id] = record.owner
        return known

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
            with self._replica(session_id, home).tail.listen(listener) as tail:
                yield tail

    def listeners(self) -> Iterator[Listener]:
        """Yield all that listen to a session at this node."""
        yield from self.own.listeners()
        for one in self._followed.values():
            yield from one.replica.tail.listeners

    def watch(self, changed: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call `changed` with the id of every session of any node whose entry in a list may have changed."""
        return self._watchers.watch(changed)

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
                followed = self._followed.get(given.session_id)
                if followed is not None:
                    followed.replica.take(given)
            elif isinstance(given, ChangedMail):
                for session_id in given.session_ids:
                    self._watchers.tell(session_id)
            else:
                self.at_home.take(given, one.age_s)

    def nodes_changed(self) -> None:
        """A node came, went, or started again. Never blocks."""
        now = {one.id: (one.incarnation, one.is_alive) for one in self.post.nodes.values()}
        moved = {name for name in {*now, *self._alive} if now.get(name) != self._alive.get(name)}
        self._alive = now
        self._look_at_calls()
        for session_id, one in self._followed.items():
            if one.replica.home in moved:
                self._follow(session_id, one)
                self._watchers.tell(session_id)
        self._show_problems()
        self.nursery.start_soon(self._tell_list, moved)

    async def _tell_list(self, homes: set[str]) -> None:
        try:
            page = await self.catalog.page(LISTED)
        except StorageError as error:
            log.info("entries of nodes that came or went are not sent again: %s", error)
            return
        for record in page:
            if record.owner in homes:
                self._watchers.tell(record.session_id)

    def _note(self, session_id: str) -> None:
        self._watchers.tell(session_id)
        self._changed[session_id] = None
        self._wake.set()

    # ---- replicas ----

    def _begin(self, session_id: str, home: str, reply: Callable[[Reply], None], answer: Reply) -> None:
        """Pass on the answer to an attach; the replica is then where it is."""
        if isinstance(answer, SessionView):
            self._replica(session_id, home).begin(answer.epoch, answer.head_seq)
        reply(answer)

    def tell_others(self, session_id: str, others: tuple[AttachedDevice, ...]) -> None:
        """Note which devices at other nodes are attached to a session, as its home said."""
        followed = self._followed.get(session_id)
        if followed is not None:
            followed.replica.tail.others = others

    def _replica(self, session_id: str, home: str) -> Replica:
        followed = self._followed.get(session_id)
        if followed is None or followed.replica.home != home:
            tail = ReplicaTail(
                session_id, 0, 0, moved=partial(self._moved, session_id), is_heard=self._is_heard
            )
            replica = Replica(session_id, home, self.journal, tail)
            followed = _Followed(replica, trio.CancelScope(), trio.current_time())
            self._followed[session_id] = followed
            self.nursery.start_soon(_run_in, followed.scope, replica)
        return followed.replica

    def _is_heard(self) -> bool:
        return self.post.silent_s <= SILENT_S

    def _moved(self, session_id: str) -> None:
        one = self._followed.get(session_id)
        if one is not None:
            one.unused_at = None if one.replica.tail.is_watched else trio.current_time()
            self._follow(session_id, one)
            self._show_problems()

    def _follow(self, session_id: str, one: _Followed) -> None:
        state = self.post.nodes.get(one.replica.home)
        if state is not None and state.is_alive:
            tail = one.replica.tail
            mail = FollowMail(self.post.node, session_id, not tail.is_watched, tail.own_devices)
            self.post.post(one.replica.home, encode_mail(mail), within_s=LOOK_S)

    def _show_problems(self) -> None:
        heard = self._is_heard()
        for one in self._followed.values():
            state = self.post.nodes.get(one.replica.home)
            if not heard:
                one.replica.show(_SILENT)
            elif state is None or not state.is_alive:
                one.replica.show(SessionProblem("machine_away", str(MachineAway(one.replica.home))))
            else:
                one.replica.show(None)

    # ---- in the background ----

    async def run(self) -> None:
        """Keep following, and tell of changes, until cancelled."""
        with self.own.watch(self._note):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_changes)
                nursery.start_soon(self._keep_polling)  # apart, since a database that hangs must be noticed
                looks = 0
                while True:
                    self._look(whole=looks % WHOLE_EVERY == 0)
                    looks += 1
                    await trio.sleep(LOOK_S)

    def _look_at_calls(self) -> None:
        self.calls.look()
        self.node_calls.look()
        self.answers.look()

    def _look(self, *, whole: bool) -> None:
        self._look_at_calls()
        self._show_problems()
        self._forget_unused()
        by_home: dict[str, list[str]] = {}
        for session_id, one in self._followed.items():
            if one.unused_at is None:
                by_home.setdefault(one.replica.home, []).append(session_id)
                if whole:
                    self._follow(session_id, one)
        for home, session_ids in by_home.items():
            state = self.post.nodes.get(home)
            if state is not None and state.is_alive:
                mail = FollowingMail(self.post.node, tuple(session_ids))
                self.post.post(home, encode_mail(mail), within_s=LOOK_S)

    def _forget_unused(self) -> None:
        now = trio.current_time()
        for session_id, one in tuple(self._followed.items()):
            if one.unused_at is not None and now - one.unused_at > UNUSED_S:
                one.scope.cancel(reason="nobody listens")
                del self._followed[session_id]

    async def _keep_polling(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            followed = [name for name, one in self._followed.items() if one.unused_at is None]
            if followed:
                await self._poll(followed)

    async def _poll(self, session_ids: Sequence[str]) -> None:
        try:
            found = await self.heads.heads(session_ids)
        except StorageError as error:
            log.info("the heads of sessions of other nodes cannot be read: %s", error)
            return
        for session_id in session_ids:
            one = self._followed.get(session_id)
            if one is not None:
                one.replica.polled(found.get(session_id))

    async def _tell_changes(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            changed, self._changed = self._changed, {}
            body = encode_mail(ChangedMail(tuple(changed)))
            for state in self.post.nodes.values():
                if state.is_alive and state.id != self.post.node:
                    self.post.post(state.id, body, within_s=LOOK_S)
            await trio.sleep(CHANGES_S)


async def _run_in(scope: trio.CancelScope, replica: Replica) -> None:
    with scope:
        await replica.run()
