"""Takes questions of plain terminals over a socket, and brings back what a person decided on any device.

One connection is one question: a line in, a line back. The terminal's own dialog is open meanwhile; if it is answered
there, the connection ends.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import trio

from actors.commands import AskAtDesk, Author, Command, Envelope, WithdrawAtDesk
from actors.desk.sessions import DeskList
from actors.errors import ActorError
from actors.events.permissions import PermissionResolved
from actors.replies import Rejected, Reply
from bridgehub.desk.questions import DeskQuestion, answer_of, read_question
from bridgehub.desk.records import DESK, NoSuchSession
from bridgehub.protocol.folder import MAX_SOCKET_PATH_BYTES
from storage.errors import SessionMissing, StorageError

__all__ = ["NOTE", "DeskAnswers", "DeskQuestions"]

log = logging.getLogger("builderos.actors")

NOTE = "desk-socket"
"""In the data folder: where the socket is."""

MAX_LINE = 1024 * 1024
MAX_WAITING = 64
"""Questions that wait at once; one more stays in its terminal."""

READ_S = 10.0
"""How long a question may take to arrive; the hook writes it at once."""

TRIES = 20
TRY_S = 0.25
"""How often, and after how long, it is tried again: the program writes its call down a moment after it asks."""


@attrs.define(eq=False)
class DeskAnswers:
    """The terminals that wait, by request: brings them what a person decided."""

    _waiting: dict[str, trio.MemorySendChannel[PermissionResolved]] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def tell(self, resolved: PermissionResolved) -> None:
        """Pass a decision on, if a terminal waits for it. Never blocks."""
        channel = self._waiting.get(resolved.request_id)
        if channel is not None:
            with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                channel.send_nowait(resolved)

    @contextmanager
    def wait(self, request_id: str) -> Iterator[trio.MemoryReceiveChannel[PermissionResolved]]:
        """Give what the decision on a request comes through."""
        # One decision is all that a request gets.
        sent, received = trio.open_memory_channel[PermissionResolved](1)
        self._waiting[request_id] = sent
        try:
            with sent, received:
                yield received
        finally:
            del self._waiting[request_id]


@attrs.define(eq=False)
class DeskQuestions:
    """Listens for questions of terminals."""

    sessions: DeskList
    answers: DeskAnswers
    new_id: Callable[[], str]

    async def run(self, data: Path, sockets: Path) -> None:
        """Listen until cancelled, in `data`, or in `sockets` if the path there is too long for a socket.

        A server that cannot listen works without it: terminals ask as always.
        """
        path, note = data / "desk.sock", data / NOTE
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            path = sockets / "desk"
        try:
            listener = _listen(path)
            descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(str(path))
        except OSError as error:
            log.warning("desk: no questions are taken from terminals: %s", error)
            return
        try:
            await trio.serve_listeners(self._serve, [listener])
        finally:
            for left in (path, note):
                left.unlink(missing_ok=True)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                if len(self.answers) < MAX_WAITING and _is_own(stream):
                    await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except (ActorError, StorageError) as error:
            log.info("desk: a question stays in its terminal: %s", error)
        except Exception:
            log.exception("desk: a question could not be taken")

    async def _answer(self, stream: trio.SocketStream) -> None:
        line = b""
        with trio.move_on_after(READ_S):
            line = await _read_line(stream)
        if not line.endswith(b"\n") or len(line) > MAX_LINE:
            return
        question = await trio.to_thread.run_sync(partial(read_question, line))
        if question is not None:
            await self._ask(stream, question)

    async def _ask(self, stream: trio.SocketStream, question: DeskQuestion) -> None:
        request_id = f"{DESK}-{self.new_id()}"
        words = question.words
        ask = AskAtDesk(
            request_id, question.tool, question.shown, question.questions, words.kind, words.title, words.diff
        )
        resolved: PermissionResolved | None = None
        tried: list[str] = []
        with self.answers.wait(request_id) as received:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_when_gone, stream, nursery.cancel_scope)
                    if await self._is_asked(question.native_id, ask, tried):
                        resolved = await received.receive()
                    nursery.cancel_scope.cancel(reason="the question is over")
                if resolved is not None:
                    answer = answer_of(question, resolved.decision, resolved.note, resolved.answers)
                    await stream.send_all(answer)
            finally:
                with trio.move_on_after(READ_S, shield=True):  # noqa: ASYNC912 - else it would stay open everywhere
                    with suppress(ActorError, SessionMissing, StorageError):
                        for session_id in tried[-1:]:
                            await self._submit(session_id, WithdrawAtDesk(request_id))

    async def _is_asked(self, native_id: str, ask: AskAtDesk, tried: list[str]) -> bool:
        """Ask on all devices, and note the session in `tried`; return whether that could be.

        The program may write its record a moment after it asks, so it is tried again.
        """
        for _ in range(TRIES):
            with suppress(NoSuchSession, SessionMissing):
                tried.append(await self.sessions.session_of_terminal(native_id))
                if await self._submit(tried[-1], ask):
                    return True
            await trio.sleep(TRY_S)
        return False

    async def _submit(self, session_id: str, command: Command) -> bool:
        """Give a command; return whether it was taken."""
        answered, replies = trio.Event(), list[Reply]()

        def reply(answer: Reply) -> None:
            replies.append(answer)
            answered.set()

        await self.sessions.supervisor.submit(session_id, Envelope(command, Author("", DESK, DESK), reply))
        await answered.wait()
        return not isinstance(replies[0], Rejected)


async def _read_line(stream: trio.SocketStream) -> bytes:
    """Return what comes up to a line's end, or more than `MAX_LINE`, or the stream's end."""
    line = await stream.receive_some(65536)
    while line and not line.endswith(b"\n") and len(line) <= MAX_LINE:
        data = await stream.receive_some(65536)
        if not data:
            break
        line += data
    return bytes(line)


async def _cancel_when_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(1024):
            pass  # what comes behind a question means nothing
    scope.cancel(reason="the terminal was answered")


def _listen(path: Path) -> trio.SocketListener:
    path.unlink(missing_ok=True)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.bind(os.fspath(path))
        os.chmod(path, 0o600)  # before it listens: nobody can have come in by then
        raw.listen(MAX_WAITING)
    except BaseException:
        raw.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(raw))


def _is_own(stream: trio.SocketStream) -> bool:
    """Tell whether a process of this user is at the other end."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the socket's mode and folder let nobody else in
    told = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", told)[1] == os.getuid())
