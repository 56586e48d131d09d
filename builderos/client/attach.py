"""`builderos attach`: a terminal as one more device of a session."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Literal, TextIO

import attrs
import trio

from builderos.client.keyboard import KeyboardReader, LineEditor, LineReader, keys_one_by_one
from builderos.client.orders import HELP, OWN_COMMANDS, Orders
from builderos.client.requests import Replied, RequestAnswer
from builderos.client.screen import Screen
from builderos.client.state import Follow, RefusedError
from builderos.client.steering import Steering
from builderos.client.terminal import OutputError
from builderos.client.wire.follower import Follower
from builderos.client.wire.frames import Frame
from builderos.client.wire.server import Server
from builderos.client.work import SessionWork

__all__ = ["attach"]

WARM_AGAIN_S = 60.0
"""The server starts a session's agent at most so often before a message."""

DECISIONS = {"y": "allow", "n": "deny", "a": "allow_session"}

_READING = frozenset({"/changes", "/files"})
_UNDOING = frozenset({"/undo", "/redo"})


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
    work: SessionWork
    steering: Steering
    clock: Callable[[], int]
    set_mode: Callable[[], None] = lambda: None
    orders: Orders = attrs.field(init=False)
    _leaving: Literal["no", "settled", "done"] = "no"
    _typed: set[str] = attrs.field(factory=set)
    _held: list[str] | None = None
    failure: Exception | None = None
    """Why it ended, if not by a wish."""
    _key: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.orders = Orders(self.steering, self.find, self.say, self._send, self.clock)

    def on_frame(self, frame: Frame) -> None:
        self.work.note(frame)
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
        if self._held is not None:
            self._held.append(text)
        else:
            self.put(text)

    def put(self, text: str) -> None:
        if not text:
            return
        try:
            self.output.write(text)
            self.output.flush()
        except OSError as error:
            # The reader closed the pipe, or the disk is full. The interpreter's own flush at exit must not hit it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.output.fileno())
            self.failure = None if isinstance(error, BrokenPipeError) else OutputError(error.strerror)
            self.scope.cancel(reason="nobody reads")

    async def run_follower(  # noqa: ASYNC128 - the follower calls it
        self, follower: Follower, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Follow until cancelled, or until the server refuses the session that it had shown."""
        try:
            await follower.run(task_status=task_status)
        except RefusedError as error:
            if self.follow.position is None:
                raise
            is_gone = error.code == "unknown_session"
            self.failure = RefusedError(error.code, "the session was deleted") if is_gone else error
            self.scope.cancel(reason="the session is gone")

    async def run_keyboard(self, follower: Follower, descriptor: int) -> None:
        editor = LineEditor(lambda line: self.steering.completions(line, OWN_COMMANDS))
        lines = KeyboardReader(descriptor, editor, self._typing) if self.is_tty else LineReader(descriptor)
        while (line := await lines.next_line()) is not None and line != "/quit":
            if line:
                await self._obey(follower, line)
        # a person who leaves wants to stop at once; a script wants the answers to its messages
        self._leaving = "settled" if self.is_tty else "done"
        self._leave_if_done()
        await trio.lowlevel.checkpoint()

    def _typing(self) -> None:
        self._key.set()

    async def run_warming(self, follower: Follower) -> None:
        """Have the agent's program started while somebody types."""
        while True:
            self._key = trio.Event()
            await self._key.wait()
            await follower.act("warm")
            await trio.sleep(WARM_AGAIN_S)

    async def run_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGCONT) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGCONT:
                    self.set_mode()  # a shell has set its own while we were stopped
                else:
                    self.scope.cancel(reason="signal")
        await trio.lowlevel.checkpoint()

    async def _obey(self, follower: Follower, line: str) -> None:
        await trio.lowlevel.checkpoint()
        if line == "/help":
            self.say(HELP)
        elif (words := line.split()) and words[0] in _READING:
            await self._read(words)
        elif self.follow.observe:
            self.say("— you observe; nothing is sent —")
        elif words and words[0] in _UNDOING:
            await self._undo(follower, words)
        elif line == "/interrupt":
            await self.orders.act(follower, "interrupt")
        elif line == "/cancel":
            await self._cancel(follower)
        elif not line.startswith("/") and (replied := self.screen.requests.reply(line)) is not None:
            await self._reply(follower, replied)
        elif (chosen := self.screen.requests.option(line)) is not None:
            request_id, option = chosen
            await self.orders.act(follower, "decide", request_id=request_id, option=option)
        elif (answer := self.screen.requests.answer_in(line)) is not None:
            await self._decide(follower, answer)
        elif not await self.orders.obey(follower, line):
            await self._send(follower, line.removeprefix("/") if line.startswith("//") else line)

    async def _read(self, words: list[str]) -> None:
        """Show changes or files. What comes meanwhile is written behind them."""
        self._held = []
        try:
            if words[0] == "/changes":
                await self.work.changes(words)
            else:
                await self.work.files(" ".join(words[1:]))
        finally:
            held, self._held = self._held, None
            self.write("".join(held))

    async def _undo(self, follower: Follower, words: list[str]) -> None:
        fields = self.work.undo_fields(words)
        if fields is None:
            self.say("— there is nothing to take back yet —")
            await trio.lowlevel.checkpoint()
        else:
            await self.orders.act(follower, "undo", **fields)

    async def _decide(self, follower: Follower, answer: RequestAnswer) -> None:
        why_not = self.screen.requests.waiting[answer.request_id].refusal(answer.letter)
        if why_not is None:
            fields = {"mode": answer.mode, "note": answer.note, "decision": DECISIONS[answer.letter]}
            await self.orders.act(follower, "decide", request_id=answer.request_id, **fields)
        else:
            self.say(f"— {why_not} —")
            await trio.lowlevel.checkpoint()

    async def _reply(self, follower: Follower, replied: Replied) -> None:
        if replied.answers is None:
            self.say(replied.shown)
            await trio.lowlevel.checkpoint()
        else:
            fields = {"decision": "allow", "answers": replied.answers}
            await self.orders.act(follower, "decide", request_id=replied.request_id, **fields)

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
            self.say("— you have no waiting message —")
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
    """Show the session and send typed lines, until end of input, `/quit` or ctrl-C.

    On a terminal the end of input leaves once all typed lines are accepted. With a pipe or a file it leaves after the
    turns of all messages have ended.

    Args:
        find: returns the server's current address.
        follow: the session to show.
        chance: for the back-off.
        new_id: makes message ids.
        clock: milliseconds since 1970 in UTC.
        descriptor: the source of lines.

    Raises:
        NoServerError, LinkLostError: the first attach failed.
        RefusedError: the key is not valid, it does not allow this session, or the session was deleted.
        OutputError: what it shows cannot be written.
    """
    failure: Exception | None = None
    is_tty = os.isatty(descriptor)
    async with AsyncExitStack() as modes, trio.open_nursery() as nursery:
        screen = Screen(me=follow.device_id or "")
        work = SessionWork(find, follow.session_id, lambda text: terminal.put(text), is_tty)
        scope, steering = nursery.cancel_scope, Steering()
        terminal = _Terminal(find, follow, screen, sys.stdout, new_id, is_tty, scope, work, steering, clock)
        follower = Follower(find, follow, chance, terminal.on_frame, terminal.on_lost, looks=True)
        await nursery.start(terminal.run_signals)
        try:
            await nursery.start(terminal.run_follower, follower)
        except Exception as error:  # raised below, so that no group wraps it
            failure = error
            nursery.cancel_scope.cancel(reason="no connection")
        else:
            if is_tty:
                terminal.set_mode = modes.enter_context(keys_one_by_one(descriptor))
                if not follow.observe:
                    nursery.start_soon(terminal.run_warming, follower)
            nursery.start_soon(terminal.run_keyboard, follower, descriptor)
    failure = failure or terminal.failure
    if failure is not None:
        raise failure
