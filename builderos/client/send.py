"""`builderos send`: sends one message to a session, exactly once, and prints its answer if wanted."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import attrs
import trio

from builderos.client.screen import Screen
from builderos.client.state import Follow, Outcome
from builderos.client.terminal import OutputError
from builderos.client.wire.follower import Follower
from builderos.client.wire.frames import Frame
from builderos.client.wire.server import Server
from builderos.exit_status import FAILED, OK, fail

__all__ = ["EXIT_STATUS", "send"]

EXIT_STATUS: dict[Outcome, int] = {
    "complete": 0,
    "error": 1,
    "interrupted": 3,
    "cancelled": 4,
    "unknown": 5,
}
"""Exit status of `send --wait` by the end of the message's turn. Without `--wait`, 0 is accepted and 1 refused."""


@attrs.define(eq=False)
class _Sending:
    """One message that is being sent."""

    follow: Follow
    message_id: str
    wait: bool
    ended: trio.Event = attrs.field(factory=trio.Event)
    failure: Exception | None = None
    _screen: Screen = attrs.field(factory=lambda: Screen(me=""))

    async def run(self, follower: Follower) -> None:
        """Follow until cancelled or until it cannot succeed; `failure` is then the reason."""
        try:
            await follower.run()
        except Exception as error:  # raised by `send`, so that no group wraps it
            self.failure = error
            self.ended.set()

    def on_frame(self, frame: Frame) -> None:
        if self.wait and self.follow.is_ours(frame):
            self._show(frame)
        if frame.kind == "rejected" and frame.text("message_id") == self.message_id:
            fail(f"refused, {frame.text('code')}: {frame.content}")
        if self.follow.is_done or (self.follow.is_settled and not self.wait):
            self.ended.set()

    def on_lost(self, why: str) -> None:
        fail(f"{why}; trying again")

    def _show(self, frame: Frame) -> None:
        if frame.kind == "message":
            try:
                sys.stdout.write(self._screen.show(frame))
                sys.stdout.flush()
            except OSError as error:  # not the link's, which would be restored
                is_pipe = isinstance(error, BrokenPipeError)
                self.failure = error if is_pipe else OutputError(error.strerror)
                self.ended.set()
        elif frame.kind == "block_dropped":
            fail("the answer broke off and begins again")
        elif frame.kind == "permission_requested":
            fail("the agent waits for a decision: answer it with builderos attach")
        elif frame.kind == "error" and frame.ends_turn:
            fail(f"{frame.text('code')}: {frame.content}")


async def send(
    find: Callable[[], Server],
    follow: Follow,
    *,
    content: str,
    message_id: str,
    wait: bool,
    chance: random.Random,
) -> int:
    """Send one message; return the exit status.

    The answer's text goes to stdout as it arrives, everything else to stderr. A lost connection is restored, and a
    message that was not accepted is sent again with its id: it runs once.

    Raises:
        NoServerError, LinkLostError: the first attach failed.
        BrokenPipeError: the reader closed stdout.
        OutputError: stdout cannot be written.
        RefusedError: the key is not valid, it does not allow this session, or the server rejects the message as a bad
            frame.
    """
    follow.send_frame(message_id, content)
    sending = _Sending(follow, message_id, wait)
    follower = Follower(find, follow, chance, sending.on_frame, sending.on_lost)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sending.run, follower)
        await sending.ended.wait()
        nursery.cancel_scope.cancel(reason="the message is sent")
    if sending.failure is not None:
        raise sending.failure
    outcome = follow.outcomes.get(message_id)
    if wait and outcome is not None:
        sys.stdout.write("\n")
        if outcome not in {"complete", "error"}:
            fail(f"the turn did not complete: {outcome}")
        return EXIT_STATUS[outcome]
    return FAILED if outcome == "error" else OK
