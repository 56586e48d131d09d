"""The home's side: does what other nodes ask of this machine's sessions, and sends them what is new.

A device of another node is one more listener of the session here. So presence, drafts and the rule that an answer comes
before its events are those of one server.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Final

import attrs
import trio

from actors.commands import Envelope
from actors.errors import SessionFailed, ShuttingDown
from actors.nodes.mail import (
    CommandMail,
    FollowingMail,
    FollowMail,
    NodeMail,
    ReplyMail,
    TailMail,
    TakenMail,
    encode_mail,
)
from actors.nodes.ports import OwnSessions, Post
from actors.replies import Rejected, Reply, SessionView
from actors.tail import AttachedDevice, Listener, Presence, Tail
from storage.errors import SessionMissing, StorageError

__all__ = ["FOLLOW_S", "KEPT_KEYS", "STALE_S", "SessionsAtHome"]

FOLLOW_S: Final = 4.0
"""How long a node follows a session without saying so again."""

STALE_S: Final = 10.0
"""A command that was under way for so long is not done: its sender got the answer that nobody knows."""

KEPT_KEYS: Final = 10_000
"""Commands and calls that are known to be done, so that one that comes twice is done once."""

_log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class _RemoteDevice:
    """One device of another node, among the listeners of a session."""

    node: str
    device: AttachedDevice | None

    def wake(self) -> None:
        """Do nothing: its node is woken once for all its devices."""


@attrs.define(eq=False)
class _RemoteNode:
    """Another node that follows a session. `until`: how long, by Trio's clock."""

    until: float
    wanted: tuple[AttachedDevice, ...] = ()
    over: bool = False
    news: trio.Event = attrs.field(factory=trio.Event)

    @property
    def device(self) -> AttachedDevice | None:
        """Implements `actors.tail.Listener`."""
        return None

    def wake(self) -> None:
        """Implements `actors.tail.Listener`."""
        self.news.set()


@attrs.define(eq=False)
class SessionsAtHome:
    """Serves the other nodes.

    Attributes:
        is_revoked: whether the key of this device was revoked; False for other authors than devices.
        is_home: whether a session's home is this node. Raises StorageError.
    """

    post: Post
    sessions: OwnSessions
    nursery: trio.Nursery
    is_revoked: Callable[[str], bool]
    is_home: Callable[[str], Awaitable[bool]]
    _waiting: dict[str, deque[tuple[CommandMail, float]]] = attrs.field(factory=dict, init=False)
    _done: OrderedDict[str, NodeMail | None] = attrs.field(factory=OrderedDict, init=False)
    _nodes: dict[tuple[str, str], _RemoteNode] = attrs.field(factory=dict, init=False)

    def take(self, mail: NodeMail, age_s: float) -> None:
        """Take a mail that is for a home. Never blocks."""
        if isinstance(mail, CommandMail):
            if age_s > STALE_S or self._is_known(mail.key, mail.node):
                return
            self._done[mail.key] = None
            if len(self._done) > KEPT_KEYS:
                self._done.popitem(last=False)
            self._queue(mail, trio.current_time() + STALE_S - age_s)
        elif isinstance(mail, FollowMail):
            self._follow(mail)
        elif isinstance(mail, FollowingMail):
            for session_id in mail.session_ids:
                known = self._nodes.get((mail.node, session_id))
                if known is not None:
                    known.until = trio.current_time() + FOLLOW_S

    # ---- commands ----

    def _is_known(self, key: str, node: str) -> bool:
        if key not in self._done:
            return False
        answer = self._done[key]
        if answer is not None:  # its first copy may have been lost
            self._tell(node, answer)
        return True

    def _queue(self, mail: CommandMail, until: float) -> None:
        waiting = self._waiting.get(mail.session_id)
        if waiting is None:
            waiting = self._waiting[mail.session_id] = deque()
            self.nursery.start_soon(self._serve, mail.session_id, waiting)
        waiting.append((mail, until))

    async def _serve(self, session_id: str, waiting: deque[tuple[CommandMail, float]]) -> None:
        """Submit a session's commands, one after the other."""
        while waiting:
            await self._submit(*waiting.popleft())
        del self._waiting[session_id]

    async def _submit(self, mail: CommandMail, until: float) -> None:
        def reply(answer: Reply) -> None:
            others = self._others(mail) if isinstance(answer, SessionView) else ()
            self._tell(mail.node, ReplyMail(mail.key, answer, others))

        taken = TakenMail(mail.key, "storage", "the session accepts no commands at the moment")
        try:
            if self.is_revoked(mail.author.key_id):
                reply(Rejected("forbidden", "This key was revoked."))
                taken = TakenMail(mail.key)
            elif not await self.is_home(mail.session_id):
                taken = TakenMail(mail.key, "missing")
            else:
                envelope = Envelope(mail.command, mail.author, reply)
                with trio.move_on_at(until):
                    await self.sessions.submit(mail.session_id, envelope)
                    taken = TakenMail(mail.key)
        except SessionMissing:
            taken = TakenMail(mail.key, "missing")
        except SessionFailed as error:
            taken = TakenMail(mail.key, "failed", str(error), error.retry_in_s)
        except ShuttingDown as error:
            taken = TakenMail(mail.key, "shutting_down", str(error))
        except StorageError as error:
            taken = TakenMail(mail.key, "storage", str(error))
        if mail.key in self._done:
            self._done[mail.key] = taken
        self._tell(mail.node, taken)

    def _others(self, mail: CommandMail) -> tuple[AttachedDevice, ...]:
        return _devices_beside(mail.node, self.sessions.listeners_of(mail.session_id))

    def _tell(self, node: str, mail: NodeMail) -> trio.Event:
        return self.post.post(node, encode_mail(mail), within_s=STALE_S)

    # ---- followers ----

    def _follow(self, mail: FollowMail) -> None:
        place = mail.node, mail.session_id
        known = self._nodes.get(place)
        if known is None:
            if mail.over:
                return
            known = self._nodes[place] = _RemoteNode(0.0)
            self.nursery.start_soon(self._serve_node, mail.node, mail.session_id, known)
        known.until = trio.current_time() + FOLLOW_S
        known.wanted, known.over = mail.devices, mail.over
        known.wake()

    async def _serve_node(self, node: str, session_id: str, remote: _RemoteNode) -> None:
        try:
            if not await self.is_home(session_id):
                return
            with self.sessions.listen(session_id, remote) as tail, ExitStack() as stack:
                shown: dict[int, AbstractContextManager[Tail]] = {}
                devices: list[_RemoteDevice] = []
                stack.callback(lambda: [one.__exit__(None, None, None) for one in shown.values()])
                await self._tell_news(node, session_id, remote, tail, shown, devices)
        except StorageError as error:
            _log.info("session %s: node %s cannot follow it yet: %s", session_id, node, error)
        finally:
            del self._nodes[node, session_id]

    async def _tell_news(
        self,
        node: str,
        session_id: str,
        remote: _RemoteNode,
        tail: Tail,
        shown: dict[int, AbstractContextManager[Tail]],
        devices: list[_RemoteDevice],
    ) -> None:
        version, sent = 0, None
        while not remote.over and trio.current_time() < remote.until:
            remote.news = trio.Event()
            self._show(node, session_id, remote.wanted, shown, devices)
            others = _devices_beside(node, tail.listeners)
            news = tuple(one for one in tail.news_since(version) if not isinstance(one, Presence))
            version = tail.news_version
            state = tail.epoch, tail.head_seq, others
            if state != sent or news:
                sent = state
                moved = TailMail(self.post.node, session_id, tail.epoch, tail.head_seq, others, news)
                await self._tell(node, moved).wait()  # what comes meanwhile is one mail
            while not remote.news.is_set() and trio.current_time() < remote.until:
                with trio.move_on_at(remote.until):
                    await remote.news.wait()

    def _show(
        self,
        node: str,
        session_id: str,
        wanted: tuple[AttachedDevice, ...],
        shown: dict[int, AbstractContextManager[Tail]],
        devices: list[_RemoteDevice],
    ) -> None:
        """Let exactly these devices be among the listeners."""
        if [one.device for one in devices] == list(wanted):
            return
        left = list(wanted)
        for one in tuple(devices):
            if one.device in left:
                left.remove(one.device)
            else:
                devices.remove(one)
                shown.pop(id(one)).__exit__(None, None, None)
        for device in left:
            made = _RemoteDevice(node, device)
            listening = self.sessions.listen(session_id, made)
            listening.__enter__()
            devices.append(made)
            shown[id(made)] = listening


def _devices_beside(node: str, listeners: Sequence[Listener]) -> tuple[AttachedDevice, ...]:
    """Return the devices among listeners, without those of a node."""
    others = [one for one in listeners if not isinstance(one, _RemoteDevice) or one.node != node]
    return tuple(one.device for one in others if one.device is not None)
