"""The replicas of this node: sessions of other nodes that devices follow here, or followed just now.

Their homes hear each second which sessions are followed here, and the database is asked how far those are: a lost mail
delays an event by a second or two.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from actors.errors import MachineAway
from actors.nodes.mail import FollowingMail, FollowMail, TailMail, encode_mail
from actors.nodes.ports import SILENT_S, Heads, Post
from actors.nodes.replica import Replica, ReplicaTail
from actors.ports import Journal
from actors.tail import Listener, SessionProblem
from storage.errors import StorageError

__all__ = ["LOOK_S", "SILENT", "Replicas"]

LOOK_S: Final = 1.0
"""How often the homes hear again who follows, and the database is asked how far those sessions are."""

WHOLE_EVERY: Final = 10
"""Looks after which a home gets all of it again."""

UNUSED_S: Final = 30.0
"""How long a replica stays that nobody listens to: somebody may be about to."""

SILENT: Final = SessionProblem(
    "storage", "This machine does not reach the database, so the session may be further on."
)

_log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class _Followed:
    """A replica, and since when nobody listens to it; None while somebody does."""

    replica: Replica
    scope: trio.CancelScope
    unused_at: float | None


async def _nothing(_: str, __: int, ___: int) -> None:
    pass


@attrs.define(eq=False)
class Replicas:
    """All replicas. `run` works in the background.

    Attributes:
        settle: see `HomeCalls.settle`; called before a session's tail moves from one head to another.
        found_at: called with a session and its home, if that is another one than its replica follows.
    """

    post: Post
    journal: Journal
    heads: Heads
    nursery: trio.Nursery
    settle: Callable[[str, int, int], Awaitable[None]] = _nothing
    found_at: Callable[[str, str], None] = attrs.field(default=lambda _, __: None, init=False)
    _followed: dict[str, _Followed] = attrs.field(factory=dict, init=False)
    _looks: int = attrs.field(default=0, init=False)

    def of(self, session_id: str, home: str) -> Replica:
        """Return the replica of a session; make it if there is none."""
        followed = self._followed.get(session_id)
        if followed is None or followed.replica.home != home:
            self.leave(session_id, home)
            tail = ReplicaTail(
                session_id, 0, 0, moved=partial(self._moved, session_id), is_heard=self._is_heard
            )
            settle = partial(self.settle, session_id)
            replica = Replica(session_id, home, self.journal, tail, settle)
            followed = _Followed(replica, trio.CancelScope(), trio.current_time())
            self._followed[session_id] = followed
            self.nursery.start_soon(_run_in, followed.scope, replica)
        return followed.replica

    def known(self, session_id: str) -> Replica | None:
        """Return the replica of a session; None if there is none."""
        followed = self._followed.get(session_id)
        return None if followed is None else followed.replica

    def leave(self, session_id: str, home: str) -> None:
        """Let go of a replica whose session has another home now: its devices must attach again."""
        one = self._followed.get(session_id)
        if one is not None and one.replica.home != home:
            del self._followed[session_id]
            one.scope.cancel(reason="the session has another home")
            one.replica.tail.reset(one.replica.tail.epoch + 1, 0)

    def listeners(self) -> Iterator[Listener]:
        """Yield all that listen to a replica."""
        for one in self._followed.values():
            yield from one.replica.tail.listeners

    def take(self, mail: TailMail) -> None:
        """Take what a home sends, if it still is the home."""
        replica = self.known(mail.session_id)
        if replica is not None and replica.home == mail.node:
            replica.take(mail)

    def homes_changed(self, homes: Collection[str]) -> list[str]:
        """Follow again the sessions of homes that came, went or started again; return them."""
        concerned = [(name, one) for name, one in self._followed.items() if one.replica.home in homes]
        for session_id, one in concerned:
            self._follow(session_id, one)
        self._show_problems()
        return [session_id for session_id, _ in concerned]

    # ---- in the background ----

    async def run(self) -> None:
        """Keep following until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_polling)  # apart, since a database that hangs must be noticed
            while True:
                self._look(whole=self._looks % WHOLE_EVERY == 0)
                self._looks += 1
                await trio.sleep(LOOK_S)

    def _look(self, *, whole: bool) -> None:
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
        at = trio.current_time()
        try:
            found = await self.heads.heads(session_ids)
        except StorageError as error:
            _log.info("the heads of sessions of other nodes cannot be read: %s", error)
            return
        for session_id in session_ids:
            replica = self.known(session_id)
            if replica is None:
                continue
            home, *head = found.get(session_id, (replica.home,))
            if home != replica.home:
                self.found_at(session_id, home)
            else:
                replica.polled((head[0], head[1]) if head else None, at)

    # ---- one of them ----

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
                one.replica.show(SILENT)
            elif state is None or not state.is_alive:
                one.replica.show(SessionProblem("machine_away", str(MachineAway(one.replica.home))))
            else:
                one.replica.show(None)


async def _run_in(scope: trio.CancelScope, replica: Replica) -> None:
    with scope:
        await replica.run()
