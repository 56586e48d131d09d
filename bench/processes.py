"""Child processes that talk by lines, and what a process weighs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import psutil
import trio

from bench.errors import BenchError

__all__ = ["ROOT", "Child", "environment", "open_child", "proportional_kib", "spent_s", "waited_s"]

ROOT = Path(__file__).resolve().parent.parent

START_S = 30.0
"""How long a child may take to its first line: a cold import on a busy machine takes seconds."""

STOP_S = 20.0
"""How long a child may take to end when asked; then it is killed."""

_READ_BYTES = 65536
_KIB = 1024
_NS_PER_S = 1e9


@attrs.define(eq=False)
class Child:
    """A running child. Made by `open_child` only."""

    name: str
    process: trio.Process
    _errors: Path
    _held: bytes = b""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def line(self, limit_s: float = START_S) -> str:
        """Return the next line of its output. Raises BenchError where it ended or says nothing in time."""
        assert self.process.stdout is not None
        with trio.move_on_after(limit_s):
            await trio.lowlevel.checkpoint()
            while b"\n" not in self._held:
                data = await self.process.stdout.receive_some(_READ_BYTES)
                if not data:
                    raise BenchError(f"{self.name} ended: {await self._last_words()}")
                self._held += data
            line, _, self._held = self._held.partition(b"\n")
            return line.decode()
        raise BenchError(f"{self.name} said nothing for {limit_s:g} s")

    async def say(self, line: bytes) -> None:
        """Write a line to its stdin. Raises BenchError where it has ended."""
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(line + b"\n")
        except trio.BrokenResourceError:
            raise BenchError(f"{self.name} ended: {await self._last_words()}") from None

    async def succeed(self, limit_s: float) -> None:
        """Wait until it ended well. Raises BenchError where it did not."""
        with trio.move_on_after(limit_s):
            if await self.process.wait() == 0:
                return
        raise BenchError(f"{self.name} broke: {await self._last_words()}")

    async def _last_words(self) -> str:
        text = await trio.Path(self._errors).read_text(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it left no word"


def environment() -> dict[str, str]:
    """Return what children run with: this one's variables less those of BuilderOS, and the checkout to import."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BUILDEROS_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def open_child(
    name: str,
    words: Sequence[str],
    folder: Path,
    *,
    stop: signal.Signals = signal.SIGTERM,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Child]:
    """Run `python WORDS…`; at the end of the block it is asked to stop, and killed where it does not.

    Args:
        name: for messages.
        folder: where its stderr is kept.
        stop: what it is asked with.
        env: its whole environment but for where to import from; None is this process's own.
    """
    errors = folder / f"{name.replace(' ', '-')}.stderr"
    with errors.open("wb") as sink:
        process = await trio.lowlevel.open_process(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            cwd=ROOT,
            env=environment() if env is None else {**env, "PYTHONPATH": str(ROOT)},
        )
    child = Child(name, process, errors)
    try:
        yield child
    finally:
        # Shielded, or a broken run would leave its processes behind; what is lost when time is up is a tidy end.
        with trio.move_on_after(STOP_S, shield=True):
            await _ask_to_end(process, stop)
        if process.returncode is None:
            process.kill()
            with trio.move_on_after(STOP_S, shield=True):  # what is lost is only that somebody reaped it
                await process.wait()
                await _close_output(process)


async def _ask_to_end(process: trio.Process, stop: signal.Signals) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    with suppress(ProcessLookupError):
        process.send_signal(stop)
    await process.wait()
    await _close_output(process)


async def _close_output(process: trio.Process) -> None:
    # After its end: a child that still has something to print must not die of that.
    assert process.stdout is not None
    await process.stdout.aclose()


def spent_s(pid: int) -> float:
    """Return the processor time of a process so far, seconds. Raises BenchError if it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
        # The threads that live, to the microsecond; the whole only to a clock tick.
        files = Path(f"/proc/{pid}/task").glob("*/schedstat")
        exact = sum(int(file.read_text().split()[0]) for file in files) / _NS_PER_S
    except (psutil.Error, OSError) as error:
        raise BenchError(f"process {pid} is gone") from error
    return max(float(times.user + times.system), exact)


def waited_s(pid: int) -> float:
    """Return how long the living threads of a process could run but had no processor, seconds; 0 without Linux."""
    waited = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # a thread that has ended
            waited += int(file.read_text().split()[1])
    return waited / _NS_PER_S


def proportional_kib(pid: int) -> float:
    """Return the PSS of a process: shared pages count by their share. Without Linux it is what only it has.

    Raises:
        BenchError: it is gone, or may not be looked at.
    """
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup")
        if rollup.exists():
            text = rollup.read_text()
            return float(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])
        return float(psutil.Process(pid).memory_full_info().uss / _KIB)
    except (OSError, StopIteration, psutil.Error) as error:
        raise BenchError(f"the memory of process {pid} cannot be read") from error
