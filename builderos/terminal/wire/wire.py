"""Keeps a connection, and on it the sessions that are followed: over losses, restarts of the server, and sleep.

Promises are `Follow`'s, as for `attach`: no gap, and each message runs once. Besides the session on the screen there are
sessions with messages that wait; they are attached without history until the server has them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, Protocol

import attrs

from builderos.client.state import Follow, ReconnectError, RefusedError
from builderos.client.wire.frames import Frame, SeenPosition, encode
from builderos.client.wire.server import Backoff, LinkLostError, NoServerError, Server
from builderos.terminal.wire.link import Link, open_link

__all__ = ["FrameListener", "Wire"]

HEARTBEAT_S: Final = 15.0
"""What a server that says nothing else is expected to do."""

ANSWER_S: Final = 3.0
"""How long a server may be silent after we woke up."""

FAILED: Final = 3
"""Attempts that may fail before `reconnecting` becomes `offline`."""

State = Literal["live", "reconnecting", "offline"]


class FrameListener(Protocol):
    """Who hears of it; called in order, must not block."""

    def on_frame(self, frame: Frame) -> None:
        """Take a frame that is not of a session in the background."""

    def on_connection(self) -> None:
        """Learn that `state` changed."""

    def on_outbox(self, follow: Follow) -> None:
        """Learn that messages of a session were accepted or refused."""

    def on_refused(self, follow: Follow, error: RefusedError) -> None:
        """Learn that the server refuses a session permanently."""


@attrs.define(eq=False)
class Wire:
    """The connection of one terminal.

    Attributes:
        find: returns the server's current address: after a restart it may have another port.
        shown: the session on the screen.
        watches: news of all sessions are wanted.
        ready: what the server said of itself and of this device.
        round_trip_s: how long it took to say so.
        more: returns a frame to send with the one that was just sent.
        attached: set once the server has answered the first attach, or the sign-in if there is none.
    """

    find: Callable[[], Server]
    chance: random.Random
    listener: FrameListener
    shown: Follow | None = None
    watches: bool = False
    state: State = "reconnecting"
    why: str = ""
    ready: Frame | None = None
    round_trip_s: float = 0.0
    more: Callable[[], str | None] = lambda: None
    heads: dict[str, SeenPosition] = attrs.field(factory=dict)
    attached: asyncio.Event = attrs.field(factory=asyncio.Event)
    _waiting: dict[str, Follow] = attrs.field(factory=dict)
    _link: Link | None = None
    _heartbeat_s: float = HEARTBEAT_S
    _again: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def run(self) -> None:
        """Connect again and again until cancelled.

        Raises:
            NoServerError, LinkLostError: there was no connection at all yet.
            RefusedError: the key is not valid.
        """
        backoff, failed = Backoff(self.chance), 0
        while True:
            try:
                async with open_link(self.find()) as link:
                    self._welcome(link)
                    failed = 0
                    while True:
                        self._take(await link.receive(2 * self._heartbeat_s))
                        if self.attached.is_set():
                            backoff.reset()
            except (LinkLostError, ReconnectError, NoServerError) as error:
                if not self.attached.is_set():
                    raise LinkLostError(str(error)) if isinstance(error, ReconnectError) else error from error
                failed += 1
                self._lost(str(error), "reconnecting" if failed <= FAILED else "offline")
            await self._pause(backoff.next_s())

    async def _pause(self, seconds: float) -> None:
        self._again.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._again.wait(), seconds)

    def send(self, kind: str, **fields: Any) -> bool:
        """Send a frame that is not worth repeating; tell whether it could go out."""
        return self._write(encode(kind, **fields))

    def act(self, kind: str, **fields: Any) -> bool:
        """Give a command about the session on the screen; tell whether it could go out."""
        follow = self.shown
        return (
            follow is not None and follow.attached and self.send(kind, session_id=follow.session_id, **fields)
        )

    def look(self) -> None:
        """Tell that a person looks at the session on the screen, so that no device is notified of it for a minute."""
        self.act("focus", visible=True, idle_s=0)

    def message(self, follow: Follow, message_id: str, content: str, **how: Any) -> None:
        """Send a message, now or once it is possible, exactly once. Raises OverflowError."""
        frame = follow.send_frame(message_id, content, **how)
        if frame is not None:
            self._write(frame)

    def show(self, follow: Follow | None) -> None:
        """Put another session on the screen, or none."""
        before, self.shown = self.shown, follow
        if before is not None and before.outbox:
            self._waiting[before.session_id] = before
        elif before is not None and before.attached:
            before.attached = False
            self.send("detach", session_id=before.session_id)
        if follow is not None:
            self._waiting.pop(follow.session_id, None)
            self._write(follow.attach_frame())

    def watch(self) -> None:
        """Have news of all sessions come, from now on."""
        if not self.watches:
            self.watches = True
            self.send("watch_sessions")

    def wait_for(self, follow: Follow) -> None:
        """Deliver the messages of a session that is not on the screen."""
        self._waiting[follow.session_id] = follow
        self._write(follow.attach_frame())

    def wake(self) -> None:
        """Doubt the connection: the machine slept, or the process was stopped."""
        self._again.set()
        if self._link is not None and self.send("ping"):
            self._link.expect(ANSWER_S)

    @property
    def behind(self) -> int:
        """How many events the session on the screen lacks, as far as heartbeats say."""
        if self.shown is None or self.shown.position is None:
            return 0
        head, here = self.heads.get(self.shown.session_id), self.shown.position
        return max(0, head.seq - here.seq) if head is not None and head.epoch == here.epoch else 0

    def _welcome(self, link: Link) -> None:
        self._link, self.ready, self.state, self.why = link, link.ready, "live", ""
        self.round_trip_s = link.round_trip_s
        seconds = link.ready.body.get("heartbeat_s") if link.ready else None
        self._heartbeat_s = (
            float(seconds) if isinstance(seconds, int | float) and seconds > 0 else HEARTBEAT_S
        )
        if self.watches:
            self.send("watch_sessions")
        for follow in (self.shown, *self._waiting.values()):
            if follow is not None:
                self._write(follow.attach_frame())
        if self.shown is None:
            self.attached.set()
        self.listener.on_connection()

    def _lost(self, why: str, state: State) -> None:
        self._link, self.state, self.why = None, state, why
        for follow in (self.shown, *self._waiting.values()):
            if follow is not None:
                follow.attached = False
        self.listener.on_connection()

    def _take(self, frame: Frame) -> None:
        if frame.kind == "heartbeat":
            self._heads(frame.body.get("sessions"))
            for one in self._waiting.values():
                for answer in one.take(frame):
                    self._write(answer)
        behind = self._waiting.get(frame.session_id or "")
        follow = self.shown if behind is None else behind
        if follow is not None:
            was = len(follow.outbox)
            try:
                answers = follow.take(frame)
            except RefusedError as error:
                self._refused(follow, error)
                return
            for answer in answers:
                self._write(answer)
            if len(follow.outbox) != was:
                self._settled(follow)
            if follow is self.shown and follow.attached:
                self.attached.set()
        if behind is None or frame.kind == "session_changed":
            self.listener.on_frame(frame)

    def _settled(self, follow: Follow) -> None:
        self.listener.on_outbox(follow)
        if follow is not self.shown and not follow.outbox:
            del self._waiting[follow.session_id]
            self.send("detach", session_id=follow.session_id)

    def _refused(self, follow: Follow, error: RefusedError) -> None:
        if follow is self.shown:
            self.shown = None
        else:
            self._waiting.pop(follow.session_id, None)
        self.listener.on_refused(follow, error)

    def _heads(self, sessions: object) -> None:
        if not isinstance(sessions, Mapping):
            return
        for name, head in sessions.items():
            if (
                isinstance(head, dict)
                and type(head.get("epoch")) is int
                and type(head.get("head_seq")) is int
            ):
                self.heads[name] = SeenPosition(head["epoch"], head["head_seq"])

    def _write(self, frame: str) -> bool:
        if self._link is None:
            return False
        try:
            self._link.send(frame)
            more = self.more()
            if more is not None:
                self._link.send(more)
        except LinkLostError:
            return False  # the receiving task notices it too, and reconnects
        return True
