"""The `bridgehub/1.0` driver: an existing relay of the person's own, one process per turn.

The command is `COMMAND --request '<json>'`. The answer is a line `JARVIS_PAYLOAD=<json>` among others on stdout. Anything
except a good answer ends the turn with an error and never becomes the agent's words. All that the process leaves behind
ends with it: its group, its descendants, and all processes with the hub's marker (for a delegate: the task's).

Options of the agent's table: `command` (a list of words), `direction`, `timeout_s`.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Literal

import attrs
import trio

from bridgehub.agents.base import Sink, Tell, TurnEnd
from bridgehub.agents.relay.protocol import (
    MAX_ARGUMENT_BYTES,
    PAYLOAD,
    Fitted,
    LastWords,
    LineTooLong,
    MessageTooLong,
    Order,
    PayloadFinder,
    RelayReply,
    fit_request,
    read_payload,
)
from bridgehub.masking import Masker
from bridgehub.protocol.events import Consumed, Noticed, TextPiece, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import HubSpec, Setup
from bridgehub.protocol.messages import Prompt, Steer
from bridgehub.protocol.process_tree import MARKER, TASK_MARKER, TreeKillFailed, kill_tree, start_mark
from bridgehub.trust.gate import settle

__all__ = ["RelayDriver", "make_driver"]

_log = logging.getLogger("builderos.bridgehub")

DEFAULT_TIMEOUT_S = 600.0

READ_BYTES = 256 * 1024

DRAIN_S = 1.0
"""How long processes that a relay left running may hold its output open after its own end, seconds."""

KILL_S = 10.0
"""How long the processes of a relay may take to end, seconds. After that they are not awaited any longer."""

PIECE_CHARS = 40 * 1024
"""Code points of one piece of the answer: as JSON at most 240 KiB."""

_Code = Literal["not_installed", "model_error", "agent_exited", "agent_protocol", "timeout"]


@attrs.define(eq=False)
class _Run:
    """The result of one process."""

    status: int | None = None
    timed_out: bool = False
    too_long: bool = False
    payload: bytes | None = None
    words: LastWords = attrs.field(factory=LastWords)


@attrs.define(eq=False)
class RelayDriver:
    """Calls the relay. It keeps nothing between turns."""

    spec: HubSpec
    can_steer: bool = False
    _scope: trio.CancelScope | None = None

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Run the relay once. See `AgentDriver`. If cancelled, it first kills the process and its tree."""
        with trio.CancelScope() as self._scope:
            return await self._run_turn(prompt, sink)
        return TurnDone(prompt.turn_id)  # interrupted

    async def configure(self, setup: Setup, tell: Tell) -> None:
        """Do nothing: a relay has no settings."""
        await trio.lowlevel.checkpoint()

    async def after_turn(self, tell: Tell) -> None:
        """Do nothing: a relay reports no figures."""
        await trio.lowlevel.checkpoint()

    async def steer(self, steer: Steer) -> bool:
        """Refuse: the process got its request when it started."""
        await trio.lowlevel.checkpoint()
        return False

    async def interrupt(self) -> None:
        """Kill the process and its tree. A relay has no way to stop by itself."""
        if self._scope is not None:
            self._scope.cancel(reason="interrupted")
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Do nothing: a process ends with its turn."""
        await trio.lowlevel.checkpoint()

    async def _run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        if not await trio.Path(self.spec.workspace).is_dir():
            return self._failed(
                prompt, "agent_exited", f"The workspace {self.spec.workspace} no longer exists."
            )
        try:
            fitted = await self._request(prompt, sink)
        except MessageTooLong:
            told = (
                f"The message is too long for {self.spec.agent}: with the rest of the request it is over the "
                f"{MAX_ARGUMENT_BYTES} bytes that a relay can be given."
            )
            return attrs.evolve(self._failed(prompt, "agent_protocol", told), retryable=False)
        if not (await settle(self.spec, sink, ("allow",))).loads:
            told = f"{self.spec.agent} was not started: nobody trusted the folder, whose settings it cannot leave out."
            return attrs.evolve(self._failed(prompt, "agent_exited", told), retryable=True)
        await sink.work_saved()
        await sink.emit(Consumed(prompt.turn_id))  # first, because any other event would imply it
        if fitted.left_out:
            told = f"{fitted.left_out} older messages did not fit and were not given to {self.spec.agent}."
            await sink.emit(Noticed(prompt.turn_id, "history_cut", told))
        try:
            run = await self._run([*self.spec.options["command"], "--request", fitted.request])
        except OSError as error:
            return self._not_started(prompt, error)
        return await self._outcome(run, prompt, sink)

    async def _request(self, prompt: Prompt, sink: Sink) -> Fitted:
        past = await sink.history(MAX_ARGUMENT_BYTES)
        order = Order(
            capsule=self.spec.workspace,
            session=self.spec.session_id,
            message=prompt.content,
            direction=self.spec.options["direction"],
            history=past.messages,
            earlier=past.left_out,
            attachments=prompt.attachments,
        )
        return await trio.to_thread.run_sync(fit_request, order)

    async def _run(self, command: list[str]) -> _Run:
        run = _Run()
        spec = self.spec
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=spec.workspace,
            env={**spec.env, MARKER: spec.hub_id},
            start_new_session=True,
        )
        started = start_mark(process.pid)
        try:
            with trio.move_on_after(spec.options.get("timeout_s", DEFAULT_TIMEOUT_S)) as limit:
                await _follow(process, run)
            run.timed_out = limit.cancelled_caught
        finally:
            # If a process is still alive after KILL_S, it stays until the hub ends.
            with trio.move_on_after(KILL_S, shield=True):
                await trio.to_thread.run_sync(self._kill, process.pid, started, abandon_on_cancel=True)
                await process.wait()
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                await trio.aclose_forcefully(stream)
        return run

    def _kill(self, pid: int, started: str | None) -> None:
        variable = TASK_MARKER if TASK_MARKER in self.spec.env else MARKER
        value = self.spec.env.get(TASK_MARKER, self.spec.hub_id)
        try:
            kill_tree(value, pid, started, variable=variable)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # for a process without the marker whose parent has ended
        except TreeKillFailed as exc:
            _log.warning("%s", exc)

    async def _outcome(self, run: _Run, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Turn the result of the process into the answer, or into an error that ends the turn."""
        said = RelayReply("broken", "is missing")
        if run.payload is not None:
            said = await trio.to_thread.run_sync(read_payload, run.payload)
        agent = self.spec.agent
        if run.timed_out:
            limit_s = self.spec.options.get("timeout_s", DEFAULT_TIMEOUT_S)
            return self._failed(prompt, "timeout", f"{agent} had no answer within {limit_s:g} s.", run)
        if run.too_long:
            return self._failed(prompt, "agent_protocol", f"{agent} wrote an answer that is too long.", run)
        if said.kind == "refused":
            return self._failed(prompt, "model_error", f"{agent} says: {said.text}", run)
        if run.status != 0:
            return self._failed(prompt, "agent_exited", f"{agent} {_told_end(run.status)}.", run)
        if said.kind == "broken":
            told = f"{agent} ended without an answer: its {PAYLOAD.decode()} line {said.text}."
            return self._failed(prompt, "agent_protocol", told, run)
        if said.kind == "nothing":
            told = f"{agent} ended well, but its answer is empty."
            await sink.emit(Noticed(prompt.turn_id, "empty_answer", told))
        block = sink.new_id()
        for start in range(0, len(said.text), PIECE_CHARS):
            piece = said.text[start : start + PIECE_CHARS]
            await sink.emit(TextPiece(prompt.turn_id, "text", block, piece))
        return TurnDone(prompt.turn_id)

    def _not_started(self, prompt: Prompt, error: OSError) -> TurnFailed:
        program = self.spec.options["command"][0]
        if error.errno == errno.E2BIG:
            told = f"The message and the environment are too long for {self.spec.agent}."
            return self._failed(prompt, "agent_protocol", told)
        told = f"{program!r} cannot be started: {error.strerror}. Fix `command` of {self.spec.agent}."
        return attrs.evolve(self._failed(prompt, "not_installed", told), retryable=False)

    def _failed(self, prompt: Prompt, code: _Code, told: str, run: _Run | None = None) -> TurnFailed:
        words = "" if run is None else run.words.text()
        content = f"{told} Its last output:\n{words}" if words else told
        content = Masker.of(self.spec.env).text(content)
        return TurnFailed(prompt.turn_id, code, content, retryable=True)


async def _follow(process: trio.Process, run: _Run) -> None:
    """Read both outputs and wait for the process's end. Processes that it left may hold them `DRAIN_S` longer."""
    finder = PayloadFinder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_pump, process.stderr, run.words.feed))
        nursery.start_soon(_read_answer, process, finder, run)
        run.status = await process.wait()
        nursery.cancel_scope.deadline = trio.current_time() + DRAIN_S
    run.payload = finder.finish()


async def _read_answer(process: trio.Process, finder: PayloadFinder, run: _Run) -> None:
    try:
        await _pump(process.stdout, finder.feed)
    except LineTooLong:
        run.too_long = True
        process.kill()


async def _pump(stream: trio.abc.ReceiveStream | None, feed: Callable[[bytes], None]) -> None:
    assert stream is not None
    await trio.lowlevel.checkpoint()
    while data := await stream.receive_some(READ_BYTES):
        feed(bytes(data))


def _told_end(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was ended by signal {-status}"
    return f"ended with exit status {status}"


def make_driver(spec: HubSpec) -> RelayDriver:
    """Return a driver that has started nothing yet."""
    return RelayDriver(spec)
