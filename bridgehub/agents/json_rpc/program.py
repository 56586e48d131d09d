"""One running program that speaks JSON-RPC, such as `codex app-server`: its process, its wire, and calls.

The program lives longer than a turn. So Trio's own tasks (system tasks) drain its output. They end with the program and
let no exception out. What the program sends goes to the listener (`listen`), which is the running turn. The reader waits
for the listener, so a flood stays in the program and nothing grows here. Between two turns there is no listener. Then
messages go to `idle` if it is set, and are dropped otherwise. A question is then answered with an error. What a listener
has not taken at its end goes the same way, in order.

Every process that the program starts has `RUN` in its environment. By that `aclose` finds the processes that the program
left behind.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import trio

from bridgehub.agents.base import JOIN_S
from bridgehub.agents.errors import BadOutput, CallRefused, ProgramError, ProgramExited
from bridgehub.agents.json_rpc.marked import RUN, kill_marked
from bridgehub.agents.json_rpc.messages import (
    HELD,
    Fields,
    Message,
    Notification,
    Reply,
    ServerRequest,
    Speech,
    decode,
    encode,
)
from bridgehub.agents.json_rpc.wires import Pipes, ProgramWire, receive

__all__ = ["RUN", "Batch", "Program", "run_program", "start_program"]

_log = logging.getLogger("builderos.bridgehub")

BATCHES_WAITING = 4
"""Reads that may wait for the listening turn, each with all its messages. One may be large, so there are few."""

STDERR_BYTES = 2048
"""Bytes of the end of stderr that are kept for the message about the program's end."""

LAST_WORDS_S = 1.0
"""How long a program may take to end after it closed its output, seconds."""

CLOSE_S = 0.5
"""How long a program may take to end after its input closed or it was asked to, seconds; 0.06 s seen."""

METHOD_NOT_FOUND = -32601

Batch = tuple[Message, ...]
"""The messages of one read, in order. To hand over all at once is several times cheaper than one by one.

It contains replies only to what was sent by `post`.
"""


@attrs.define(eq=False)
class _Call:
    replied: trio.Event = attrs.field(factory=trio.Event)
    reply: Reply | None = None


@attrs.define(eq=False)
class Program:
    """A running program, made by `start_program` or by `sockets`. Close it.

    One without a process belongs to somebody else, who lets us in. It stays when it is closed here.
    """

    _wire: ProgramWire
    _process: trio.Process | None
    _run_id: str
    _calls: dict[int, _Call] = attrs.field(factory=dict)
    _ids: int = 0
    _writing: trio.Lock = attrs.field(factory=trio.Lock)
    _stderr: bytearray = attrs.field(factory=bytearray)
    _listener: trio.MemorySendChannel[Batch] | None = None
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _fault: ProgramError | None = None
    _over: bool = False
    _posted: set[int] = attrs.field(factory=set)
    _speech: Speech = attrs.field(factory=Speech)
    listens: bool = False
    """Whether it is our own and listens on a socket."""
    gone: trio.Event = attrs.field(factory=trio.Event)
    """Set once nothing more comes from the program."""
    _torn: bool = False
    """A line was cut off during writing. Anything that the program reads next would be nonsense."""

    @property
    def next_id(self) -> int:
        """The id of the next call."""
        return self._ids + 1

    @property
    def usable(self) -> bool:
        """Whether the program runs and understands us, as far as is known."""
        return not self._over and not self._torn and (self._process is None or self._process.poll() is None)

    @property
    def is_own(self) -> bool:
        """Whether the program was started here, and ends with us."""
        return self._process is not None

    @property
    def fault(self) -> ProgramError:
        """Why nothing more comes from the program."""
        return self._fault or ProgramExited(self._last_words())

    def hear_idle_by(self, idle: Callable[[Notification | ServerRequest], Mapping[str, Any] | None]) -> None:
        """Pass what the program sends to `idle` while there is no listener (`Speech.idle`)."""
        self._speech = attrs.evolve(self._speech, idle=idle)

    @contextmanager
    def listen(self) -> Iterator[trio.MemoryReceiveChannel[Batch]]:
        """Receive what the program sends while inside the block. The channel ends with the program."""
        send, receive = trio.open_memory_channel[Batch](BATCHES_WAITING)
        with send, receive:
            if self._over:
                send.close()
            else:
                self._listener = send
            try:
                yield receive
            finally:
                self._listener = None
                self._hear_rest(receive)

    async def call(self, method: str, params: Mapping[str, Any]) -> Fields:
        """Call the program and wait for its answer.

        Raises:
            CallRefused: the program answered with an error.
            ProgramExited, BadOutput: the program ended, or its output is broken.
        """
        self._ids += 1
        number = self._ids
        call = self._calls[number] = _Call()
        try:
            await self._write({"id": number, "method": method, "params": params})
            if self._over:
                raise self.fault
            await call.replied.wait()
        finally:
            self._calls.pop(number, None)
        if call.reply is None:
            raise self.fault
        if call.reply.error is not None:
            raise CallRefused(call.reply.error, call.reply.code)
        return call.reply.result

    async def post(self, method: str, params: Mapping[str, Any]) -> None:
        """Call the program. Its answer comes to the listener, in order. Raises ProgramExited.

        The call has the id that `next_id` had before.
        """
        number = self.next_id
        self._ids += 1
        self._posted.add(number)
        await self._write({"id": number, "method": method, "params": params})

    async def tell(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Call the program and ignore its answer. Raises ProgramExited."""
        self._ids += 1
        await self._write({"id": self._ids, "method": method, "params": params or {}})

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send the program a notification, which has no answer. Raises ProgramExited."""
        await self._write({"method": method} if params is None else {"method": method, "params": params})

    async def answer(self, request: ServerRequest, result: Mapping[str, Any] | None) -> None:
        """Answer a question of the program. Raises ProgramExited."""
        await self._write({"id": request.request_id, "result": result})

    async def refuse(self, request: ServerRequest, why: str, code: int = METHOD_NOT_FOUND) -> None:
        """Answer a question of the program with an error. Raises ProgramExited."""
        error = {"code": code, "message": why}
        await self._write({"id": request.request_id, "error": error})

    async def aclose(self) -> None:
        """End the program and all that it started. Idempotent. If cancelled, it kills at once."""
        process = self._process
        try:
            await self._wire.aclose()
            if process is not None:
                with trio.move_on_after(CLOSE_S):
                    if self.listens and process.poll() is None:
                        process.terminate()  # it does not end with its clients
                    await process.wait()
        finally:
            if process is not None and process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            self._scope.cancel(reason="the program is put away")
        if process is not None:
            await process.wait()
            await trio.to_thread.run_sync(kill_marked, self._run_id)

    async def kill_commands(self, spared: Container[str]) -> None:
        """Kill what the program's commands left running, except calls whose id is in `spared`.

        A command may leave the program's reach by starting a session of its own.
        """
        await trio.to_thread.run_sync(kill_marked, self._run_id, spared, abandon_on_cancel=True)

    async def run(self) -> None:
        """Drain its output until the program ends. A system task, so no exception may leave it."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._drain_stderr)
                    await self._read()
                    await self._until_over()
                    nursery.cancel_scope.cancel(reason="the program said its last word")
        except* Exception:
            _log.exception("the pipes of %s could not be read", self._speech.name)
        finally:
            self._end()

    async def _read(self) -> None:
        ripe_at = -math.inf
        try:
            while (got := await self._wire.receive(ripe_at)) is not None:
                lines, is_ahead = got
                is_piece = await self._hear(lines)
                ripe_at = trio.current_time() + JOIN_S if is_piece and not is_ahead else -math.inf
        except BadOutput as error:
            self._fault = error
        except ProgramExited:
            pass  # its end shows by its process, or by nothing more

    async def _hear(self, lines: Iterator[bytearray]) -> bool:
        """Take lines. Return whether the last of them was a piece of an answer."""
        batch: list[Message] = []
        fault: BadOutput | None = None
        try:
            for line in lines:
                message = decode(line)
                if isinstance(message, Reply) and message.request_id not in self._posted:
                    self._take_reply(message)
                else:
                    batch.append(message)
                    if isinstance(message, Reply):
                        self._posted.discard(message.request_id)
                        await self._hand_over(tuple(batch))  # who waits for it may not listen to what follows
                        batch = []
        except BadOutput as error:
            fault = error
        if batch:  # messages before a broken line count
            await self._hand_over(tuple(batch))
        if fault is not None:
            raise fault
        return bool(batch) and self._speech.is_piece(batch[-1])

    def _take_reply(self, reply: Reply) -> None:
        call = self._calls.get(reply.request_id)
        if call is not None:
            call.reply = reply
            call.replied.set()

    async def _hand_over(self, batch: Batch) -> None:
        if self._listener is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._listener.send(batch)
                return
        for index, message in enumerate(batch):
            if self._listener is not None:  # it came while a question was answered
                await self._hand_over(batch[index:])
                return
            if isinstance(message, Reply):
                continue
            heard = self._speech.idle(message)
            if isinstance(message, ServerRequest) and heard is not HELD:
                await self._settle(message, heard)

    def _hear_rest(self, left: trio.MemoryReceiveChannel[Batch]) -> None:
        """Take what waits for a listener that ends, as if it came a moment later."""
        with suppress(trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            while True:
                for message in left.receive_nowait():
                    if isinstance(message, Reply):
                        continue
                    heard = self._speech.idle(message)
                    if isinstance(message, ServerRequest) and heard is not HELD:
                        # The turn may be cancelled, so its own tasks could not write any more.
                        trio.lowlevel.spawn_system_task(self._settle, message, heard, name="late answer")

    async def _settle(self, request: ServerRequest, result: Mapping[str, Any] | None) -> None:
        """Answer a question that nobody listened to; refuse it if there is no answer."""
        with suppress(ProgramExited, BadOutput):
            if result is not None:
                await self.answer(request, result)
            else:
                await self.refuse(request, "nobody can be asked between two turns")

    async def _drain_stderr(self) -> None:
        if self._process is None:
            return
        while chunk := await receive(self._process.stderr):
            self._stderr += chunk
            del self._stderr[:-STDERR_BYTES]

    async def _write(self, message: Mapping[str, Any]) -> None:
        line = encode({"jsonrpc": self._speech.version, **message} if self._speech.version else message)
        async with self._writing:
            gone, whole = False, False
            try:
                await self._wire.send(line)
                whole = True
            except ProgramExited:
                gone = True
            finally:
                self._torn = self._torn or not whole
            if gone:
                await self._until_over()
                raise self.fault

    async def _until_over(self) -> None:
        if self._process is None:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(LAST_WORDS_S):
            await self._process.wait()

    def _end(self) -> None:
        self._over = True
        self.gone.set()
        for call in self._calls.values():
            call.replied.set()
        if self._listener is not None:
            self._listener.close()

    def _last_words(self) -> str:
        if self._process is None:
            return f"{self._speech.name} in the background ended."
        code = self._process.poll()
        how = "ended" if code is None else f"ended with exit status {code}"
        if code is not None and code < 0:
            how = f"was ended by signal {-code}"
        words = self._stderr.decode(errors="replace").strip()
        return f"{self._speech.name} {how}." + (f" Its last output:\n{words}" if words else "")


async def start_program(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    run_id: str,
    speech: Speech | None = None,
) -> Program:
    """Start the process. Does not wait for it to become ready.

    Args:
        command: the program and its arguments.
        env: its whole environment.
        cwd: the folder in which it starts.
        run_id: the value of `RUN`, unique for each program.
        speech: how it speaks. None: like Codex.

    Raises:
        OSError: the process cannot be started.
    """
    process = await trio.lowlevel.open_process(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**env, RUN: run_id},
        cwd=cwd,
        start_new_session=True,
    )
    return run_program(Program(Pipes(process), process, run_id, speech=speech or Speech()))


def run_program(program: Program) -> Program:
    """Have the program's output read from now on; return the program."""
    trio.lowlevel.spawn_system_task(program.run, name="agent pipes")
    return program
