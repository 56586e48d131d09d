"""Follows one session over lost connections and server restarts; does the I/O for `state.Follow`."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
import trio

from builderos.client.state import Follow, ReconnectError
from builderos.client.wire.connection import ServerConnection, connect
from builderos.client.wire.frames import Frame, encode
from builderos.client.wire.server import Backoff, LinkLostError, NoServerError, Server

__all__ = ["Follower"]


@attrs.define(eq=False)
class Follower:
    """One device on one session.

    Attributes:
        find: returns the server's current address: after a restart it may have another port.
        on_frame: called with every frame, once each, in order; must not block.
        on_lost: called with the reason whenever the connection is lost, and at the first failed attempt to reconnect.
        looks: a person sits here, so each act reports that they look at the session.
    """

    find: Callable[[], Server]
    follow: Follow
    chance: random.Random
    on_frame: Callable[[Frame], None]
    on_lost: Callable[[str], None]
    looks: bool = False
    _link: ServerConnection | None = None
    _lost: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled. Counts as started once the session is attached for the first time.

        Raises:
            NoServerError: before that, there was none.
            LinkLostError: before that, the server could not be reached or attached to.
            RefusedError: the key is not valid, or it does not allow this session.
        """
        backoff = Backoff(self.chance)
        started = False
        while True:
            try:
                async with connect(self.find()) as link:
                    self._link = link
                    await link.send(self.follow.attach_frame())
                    while True:
                        await self._take(link, await link.receive())
                        if self.follow.attached:
                            backoff.reset()
                            self._lost = False
                            if not started:
                                started = True
                                task_status.started()
            except (LinkLostError, ReconnectError, NoServerError) as error:
                if not started and isinstance(error, ReconnectError):
                    raise LinkLostError(str(error)) from error
                if not started:
                    raise
                self._report(str(error))
            finally:
                self._link, self.follow.attached = None, False
            await trio.sleep(backoff.next_s())

    async def send(self, message_id: str, content: str, not_before: str | None = None) -> None:
        """Send a message, now or after the next attach, exactly once. Raises OverflowError."""
        frame = self.follow.send_frame(message_id, content, not_before)
        if frame is not None:
            await self._write(frame)
            await self._look()
        else:
            await trio.lowlevel.checkpoint()

    async def act(self, kind: str, **fields: object) -> bool:
        """Give a command that is not worth repeating; tell whether it could go out."""
        if not self.follow.attached:
            await trio.lowlevel.checkpoint()
            return False
        went_out = await self._write(encode(kind, session_id=self.follow.session_id, **fields))
        await self._look()
        return went_out

    async def _look(self) -> None:
        if self.looks:
            await self._write(encode("focus", session_id=self.follow.session_id, visible=True, idle_s=0))

    async def _take(self, link: ServerConnection, frame: Frame) -> None:
        if frame.kind == "detached" and self.follow.attached and frame.session_id == self.follow.session_id:
            raise ReconnectError("the session was restored to another state, or deleted")
        answers = self.follow.take(frame)
        self.on_frame(frame)
        await trio.lowlevel.checkpoint()
        for answer in answers:
            await link.send(answer)

    async def _write(self, frame: str) -> bool:
        await trio.lowlevel.checkpoint()
        if self._link is None:
            return False
        try:
            await self._link.send(frame)
        except LinkLostError:
            return False  # the receiving task notices it too, and reconnects
        return True

    def _report(self, why: str) -> None:
        if not self._lost:
            self._lost = True
            self.on_lost(why)
