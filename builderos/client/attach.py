"""`builderos attach`: a terminal as one more device of a session."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Literal, TextIO

import attrs
import trio

from builderos.client.connection import Server
from builderos.client.follower import Follower
from builderos.client.frames import Frame
from builderos.client.keyboard import open_keyboard
from builderos.client.orders import HELP, OWN_COMMANDS, Orders
from builderos.client.requests import Answer
from builderos.client.screen import Screen
from builderos.client.state import Follow
from builderos.client.steering import Steering

__all__ = ["attach"]

DECISIONS = {"y": "allow", "n": "deny", "a": "allow_session"}


@attrs.define(eq=False)
class _Terminal:
    """Keyboard and screen of one attach."""

    find: Callable[[], Server]
    follow: Follow
    screen: Screen
    output: TextIO
    new_id: Callable[[], str]
    is_tty: bool
    scope: trio.CancelScope
    steering: Steering
    clock: Callable[[], int]
    orders: Orders = attrs.field(init=False)
    _leaving: Literal["no", "settled", "done"] = "no"
    _typed: set[str] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.orders = Orders(self.steering, self.find, self.say, self._send, self.clock)

    def on_frame(self, frame: Frame) -> None:
        if frame.kind == "attached" and frame.text("device_id"):
            self.screen.me = frame.text("device_id")
        self.steering.take(frame)
        is_known = frame.kind == "user_message" and frame.text("message_id") in self._typed
        if not is_known or frame.text("not_before"):
            self.write(self.screen.show(frame))
        self._leave_if_done()

    def on_lost(self, why: str) -> None:
        self.say(f"— {why}; trying again —")

    def say(self, line: str) -> None:
        self.write(self.screen.say(line))

    def write(self, text: str) -> None:
        if not text:
            return
        try:
            self.output.write(text)
            self.output.flush()
        except BrokenPipeError:
            # whoever read us is gone; the interpreter's own flush at its end must not find the pipe again
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.output.fileno())
            self.scope.cancel(reason="nobody reads")

    async def run_keyboard(self, follower: Follower, descriptor: int) -> None:
        with open_keyboard(descriptor, self._completions) as lines:
            while (line := await lines.next_line()) is not None and line != "/quit":
                if line:
                    await self._obey(follower, line)
        # a person who leaves wants to be gone; a script wants the answers to what it sent
        self._leaving = "settled" if self.is_tty else "done"
        self._leave_if_done()
        await trio.lowlevel.checkpoint()

    async def run_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self.scope.cancel(reason="signal")
        await trio.lowlevel.checkpoint()

    def _completions(self, line: str) -> list[str]:
        return self.steering.completions(line, OWN_COMMANDS)

    async def _obey(self, follower: Follower, line: str) -> None:
        await trio.lowlevel.checkpoint()
        if line == "/help":
            self.say(HELP)
        elif self.follow.observe:
            self.say("— you observe; nothing is sent —")
        elif line == "/interrupt":
            await self.orders.act(follower, "interrupt")
        elif line == "/cancel":
            await self._cancel(follower)
        elif (answer := self.screen.requests.answer_in(line)) is not None:
            await self._decide(follower, answer)
        elif not await self.orders.obey(follower, line):
            await self._send(follower, line.removeprefix("/") if line.startswith("//") else line)

    async def _decide(self, follower: Follower, answer: Answer) -> None:
        why_not = self.screen.requests.waiting[answer.request_id].refusal(answer.letter)
        if why_not is None:
            decision = DECISIONS[answer.letter]
            fields = {"mode": answer.mode, "note": answer.note}
            await self.orders.act(
                follower, "decide", request_id=answer.request_id, decision=decision, **fields
            )
        else:
            self.say(f"— {why_not} —")
            await trio.lowlevel.checkpoint()

    async def _send(self, follower: Follower, line: str, not_before: str | None = None) -> None:
        message_id = self.new_id()
        if self.is_tty:
            self._typed.add(message_id)
        try:
            await follower.send(message_id, line, not_before)
        except OverflowError as error:
            self.say(f"— not sent: {error} —")

    async def _cancel(self, follower: Follower) -> None:
        message_id = self.follow.newest_own
        if message_id is None:
            self.say("— no message of yours waits —")
            await trio.lowlevel.checkpoint()
        else:
            await self.orders.act(follower, "cancel", message_id=message_id)

    def _leave_if_done(self) -> None:
        if (self._leaving == "settled" and self.follow.is_settled) or (
            self._leaving == "done" and self.follow.is_done
        ):
            self.scope.cancel(reason="the input ended")


async def attach(
    find: Callable[[], Server],
    follow: Follow,
    *,
    chance: random.Random,
    new_id: Callable[[], str],
    clock: Callable[[], int],
    descriptor: int = 0,
) -> None:
    """Show the session and send what is typed, until end of input, `/quit` or ctrl-C.

    With a terminal the end of input leaves at once, once what was typed is accepted; with a pipe or a file
    after the turns of what was sent have ended.

    Args:
        find: tells where the server is now.
        follow: which session.
        chance: for the back-off.
        new_id: makes message ids.
        clock: milliseconds since 1970 in UTC.
        descriptor: where lines come from.

    Raises:
        NoServerError, LinkLostError: the first attach failed.
        RefusedError: the key is not valid, or the session is not for us.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        screen = Screen(me=follow.device_id or "")
        is_tty, steering = os.isatty(descriptor), Steering()
        terminal = _Terminal(
            find, follow, screen, sys.stdout, new_id, is_tty, nursery.cancel_scope, steering, clock
        )
        follower = Follower(find, follow, chance, terminal.on_frame, terminal.on_lost)
        await nursery.start(terminal.run_signals)
        try:
            await nursery.start(follower.run)
        except Exception as error:  # raised below, so that it is in no group
            failure = error
            nursery.cancel_scope.cancel(reason="no connection")
        else:
            nursery.start_soon(terminal.run_keyboard, follower, descriptor)
    if failure is not None:
        raise failure
