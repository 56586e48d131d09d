"""Processes that keep one conversation warm and time its turns; what they and their orchestrator say.

Such a process opens its conversation, prints `ready`, and then does one turn for each line on stdin: it takes the
clock, hands the prompt over, and prints what it saw as a line of JSON. All of them count words, so the stand-in
must answer by words.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import attrs
import cattrs
import orjson
import trio

from bench.errors import BenchError, one_line

__all__ = ["Ask", "Timed", "Turns", "run_process", "serve_turns"]


@attrs.frozen
class Ask:
    """One turn.

    Attributes:
        prompt: what the person says.
        words: how many must come.
        limit_s: when it is given up.
        fresh: do it in a new conversation, with a program that is not there yet.
        warm_s: start the program so long before, ours by a word to the server; None: start it with the prompt.
    """

    prompt: str
    words: int
    limit_s: float
    fresh: bool = False
    warm_s: float | None = None


@attrs.frozen
class Timed:
    """What came of it, each in microseconds since the prompt was handed over.

    Attributes:
        first_us: the first piece of the answer.
        last_us: the last one.
        end_us: the word that the turn is over.
    """

    first_us: int
    last_us: int
    end_us: int


class Turns(Protocol):
    """A warm conversation."""

    async def turn(self, ask: Ask) -> Timed:
        """Do one turn. Raises BenchError where it broke or had other words."""
        ...


async def serve_turns(turns: Turns) -> None:
    """Do turns until stdin ends.

    Raises:
        BenchError: one broke or took too long.
    """
    _answer(b"ready")
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        ask = cattrs.structure(orjson.loads(line), Ask)
        try:
            with trio.fail_after(ask.limit_s):
                timed = await turns.turn(ask)
        except trio.TooSlowError:
            raise BenchError(f"the turn was not done after {ask.limit_s:g} s") from None
        _answer(orjson.dumps(attrs.asdict(timed)))


def run_process(serve: Callable[[], Awaitable[None]]) -> int:
    """Run until stdin ends, and return the exit status; what breaks is the last line on stderr."""
    try:
        trio.run(partial(serve))
    except Exception as error:  # whatever broke is printed in one line
        sys.stderr.write(one_line(error) + "\n")
        return 1
    return 0


def _answer(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
