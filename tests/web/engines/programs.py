"""Browsers as programs: where they are, and how each one that was started is ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import TypeVar

import psutil

from tests.web.limits import at_most

__all__ = ["START_S", "NewChildren", "Program", "end_politely", "find_program", "opened_twice", "poll"]

T = TypeVar("T")

START_S = 60.0
"""How long a browser may take to start on a busy machine."""

END_S = 5.0
"""How long it may take to end before it is killed."""


def find_program(variable: str, names: Sequence[str], package: str) -> str:
    """Return the path of a program: what the environment variable says, else the first of the names on PATH.

    AssertionError if there is none, with the Debian package that has it.
    """
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    assert found, (
        f"{names[0]} is missing, which the tests of the web client use: apt install {package}, "
        f"or set {variable} to its path"
    )
    return found


def poll(check: Callable[[], bool], what: str) -> None:
    """Call `check` until it returns something true. AssertionError after `START_S`."""
    end = time.monotonic() + START_S
    while not check():
        assert time.monotonic() < end, f"{what}: not within {START_S:g} s"
        time.sleep(0.02)


@contextmanager
def opened_twice(
    make: Callable[[], AbstractContextManager[T]], what: str, start_s: float = START_S
) -> Iterator[T]:
    """Enter what `make` returns. If that fails or hangs, what it started is killed, and it is tried once more."""
    with ExitStack() as stack:
        yield _opened(stack, make, what, start_s)


def _opened(stack: ExitStack, make: Callable[[], AbstractContextManager[T]], what: str, start_s: float) -> T:
    for is_last in (False, True):
        started = NewChildren()
        try:
            with started.noted(), at_most(start_s, f"the start of {what}"):
                return stack.enter_context(make())
        except Exception as error:
            started.kill()
            if is_last:
                raise
            print(f"{what} did not start and is started once more: {error!r}")
    raise AssertionError("the second try returns or raises")


class NewChildren:
    """The processes that this one starts in a block."""

    def __init__(self) -> None:
        self._all: set[psutil.Process] = set()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note those that are new at the end of the block."""
        others = set(psutil.Process().children())
        try:
            yield
        finally:
            self._all |= set(psutil.Process().children()) - others

    def kill(self) -> None:
        """Kill them and all that they started. The caller waits for them."""
        for one in self._all:
            with suppress(psutil.NoSuchProcess):
                others = one.children(recursive=True)
                for member in (*others, one):
                    with suppress(psutil.NoSuchProcess):
                        member.kill()
                psutil.wait_procs(others, timeout=END_S)


def end_politely(act: Callable[[], object], what: str) -> None:
    """Call `act`, which ends something that is killed afterwards in any case. No error of it counts."""
    with suppress(Exception), at_most(END_S, f"the end of {what}"):
        act()


class Program:
    """A process in a group of its own. `end` ends the whole group, however far its start got.

    If the tests are killed, the kernel kills it: `setpriv` asks for that. What it started ends without it.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> None:
        self._name = Path(command[0]).name
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def wait_line(self, text: str) -> str:
        """Return the first line of its output that has the text. AssertionError if none comes within `START_S`."""
        seen = []
        end = time.monotonic() + START_S
        with suppress(Empty):
            while (line := self._lines.get(timeout=max(0.0, end - time.monotonic()))) is not None:
                seen.append(line)
                if text in line:
                    return line.strip()
        raise AssertionError(f"{self._name} did not print `{text}`, but:\n{''.join(seen[-40:])}")

    def end(self) -> None:
        """End the process and all that it started, and wait until they are gone."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        self._reader.join(END_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError):  # closed
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)
