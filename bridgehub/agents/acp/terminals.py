"""Commands that the hub runs for an agent: processes of the hub's tree, with bounded output, ended with the agent."""

from __future__ import annotations

import codecs
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs
import trio

from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.protocol.tool_events import MAX_OUTPUT_CHARS

__all__ = ["MAX_OUTPUT_BYTES", "BadTerminal", "Terminals"]

MAX_TERMINALS = 16
"""Terminals that run at the same time."""

MAX_OUTPUT_BYTES = 1024 * 1024
"""Bytes of one terminal's newest output that are kept."""

MAX_KEPT = 16
"""Released terminals whose output is kept for the tool call that shows it."""

READ_BYTES = 64 * 1024
MAX_WORDS = 4096
MAX_VARIABLES = 256
REAP_S = 2.0
"""How long a killed command may take to end, seconds."""


class BadTerminal(Exception):
    """The agent cannot have that. The text says why."""


@attrs.define(eq=False)
class _Terminal:
    process: trio.Process
    limit: int
    heard: Callable[[], object]
    output: bytearray = attrs.field(factory=bytearray)
    is_cut: bool = False
    ended: trio.Event = attrs.field(factory=trio.Event)
    recent: str = ""
    """The newest characters of the output. `printed`: how many characters it has had."""
    printed: int = 0
    _decoder: codecs.IncrementalDecoder = attrs.field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def text(self) -> str:
        """Return the output, without an incomplete character at its beginning."""
        data = bytes(self.output)
        if self.is_cut:
            start = next((at for at in range(min(4, len(data))) if data[at] & 0xC0 != 0x80), 0)
            data = data[start:]
        return data.decode(errors="replace")

    def status(self) -> dict[str, Any] | None:
        """Return how the command ended, None while it runs."""
        code = self.process.returncode
        if code is None or not self.ended.is_set():
            return None
        if code < 0:
            return {"exitCode": None, "signal": _signal_name(-code)}
        return {"exitCode": code, "signal": None}

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def drain(self) -> None:
        """Read the output until the command has ended. A system task, so no exception may leave it."""
        assert self.process.stdout is not None
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    await self.process.wait()
                    # Its background processes may hold the pipe open forever.
                    with trio.move_on_after(0.2):
                        await trio.sleep_forever()
                    nursery.cancel_scope.cancel(reason="the command has ended")
        finally:
            self.ended.set()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while chunk := await self.process.stdout.receive_some(READ_BYTES):
                self.output += chunk
                if len(self.output) > self.limit:
                    self.is_cut = True
                    del self.output[: -self.limit or None]
                text = self._decoder.decode(chunk)
                self.printed += len(text)
                self.recent = (self.recent + text)[-MAX_OUTPUT_CHARS:]
                self.heard()


@attrs.define(eq=False)
class Terminals:
    """The terminals of one program of the agent.

    Attributes:
        env: the whole environment of a command, before its own variables.
        heard: is called when a command has printed something. Must not block or raise.
    """

    env: Mapping[str, str] = attrs.field(repr=False)
    heard: Callable[[], object] = lambda: None
    _open: dict[str, _Terminal] = attrs.field(factory=dict)
    _kept: dict[str, _Terminal] = attrs.field(factory=dict)
    _count: int = 0

    async def create(self, params: Fields, cwd: str) -> str:
        """Start a command. Return its terminal's id. Raises BadTerminal."""
        if len(self._open) >= MAX_TERMINALS:
            raise BadTerminal(f"there are {MAX_TERMINALS} terminals already; release one")
        try:
            process = await trio.lowlevel.open_process(
                _words(params),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**self.env, **_variables(params)},
                cwd=cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise BadTerminal(
                f"the command cannot be started: {getattr(error, 'strerror', None) or error}"
            ) from error
        limit = params.count("outputByteLimit")
        limit = MAX_OUTPUT_BYTES if limit is None else max(0, min(limit, MAX_OUTPUT_BYTES))
        self._count += 1
        terminal_id = f"terminal-{self._count}"
        terminal = self._open[terminal_id] = _Terminal(process, limit, lambda: self.heard())
        trio.lowlevel.spawn_system_task(terminal.drain, name="agent terminal")
        return terminal_id

    def output(self, terminal_id: str) -> dict[str, Any]:
        """Return a terminal's output so far, and how its command ended. Raises BadTerminal."""
        terminal = self._of(terminal_id)
        told: dict[str, Any] = {"output": terminal.text(), "truncated": terminal.is_cut}
        status = terminal.status()
        return told if status is None else {**told, "exitStatus": status}

    async def wait(self, terminal_id: str) -> dict[str, Any]:
        """Wait until a command ends. Return how it ended. Raises BadTerminal."""
        terminal = self._of(terminal_id)
        await terminal.ended.wait()
        return terminal.status() or {"exitCode": None, "signal": None}

    def kill(self, terminal_id: str) -> None:
        """End a command. Its output stays available. Raises BadTerminal."""
        self._of(terminal_id).kill()

    def release(self, terminal_id: str) -> None:
        """End a command and forget its terminal. Raises BadTerminal."""
        terminal = self._of(terminal_id)
        del self._open[terminal_id]
        terminal.kill()
        self._kept[terminal_id] = terminal
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def text(self, terminal_id: str) -> str:
        """Return a terminal's output, even if it was released. Empty if there is none."""
        terminal = self._open.get(terminal_id) or self._kept.get(terminal_id)
        return "" if terminal is None else terminal.text()

    def recent(self, terminal_id: str) -> tuple[int, str]:
        """Return the newest part of a terminal's output, after the number of characters before it."""
        terminal = self._open.get(terminal_id) or self._kept.get(terminal_id)
        return (0, "") if terminal is None else (terminal.printed - len(terminal.recent), terminal.recent)

    def kill_all(self) -> None:
        """End all commands."""
        for terminal in self._open.values():
            terminal.kill()

    async def aclose(self) -> None:
        """End all commands and wait for them. Idempotent."""
        self.kill_all()
        with trio.move_on_after(REAP_S, shield=True):  # noqa: ASYNC912 - there may be none
            for terminal in self._open.values():
                await terminal.ended.wait()
        self._open.clear()
        await trio.lowlevel.checkpoint()

    def _of(self, terminal_id: str) -> _Terminal:
        terminal = self._open.get(terminal_id)
        if terminal is None:
            raise BadTerminal("there is no such terminal")
        return terminal


def _words(params: Fields) -> list[str]:
    words = [params.text("command"), *(one for one in params.each("args") if isinstance(one, str))]
    if not words[0] or len(words) > MAX_WORDS or any("\0" in word for word in words):
        raise BadTerminal("that is not a command")
    # A command with spaces and no arguments is a line for a shell.
    return ["/bin/sh", "-c", words[0]] if len(words) == 1 and " " in words[0] else words


def _variables(params: Fields) -> dict[str, str]:
    told = {one.text("name"): one.text("value") for one in params.objects("env")[:MAX_VARIABLES]}
    return {
        name: value for name, value in told.items() if name and "=" not in name and "\0" not in name + value
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
