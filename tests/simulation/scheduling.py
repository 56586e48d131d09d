"""One run of Trio of which every step follows from a seed.

Trio shuffles the tasks of each turn of its loop. If it must be deterministic it first puts them in the order in which
they were made, and shuffles by a generator of its own that can be seeded: this is how it lets hypothesis replay a
test, and the switch and the generator are the same here. Both are private names of a version that is pinned;
`test_replay` notices when they stop doing what is said here.

The clock is virtual. It is asked a thousand times in a history, so it returns its own figure, a private name too, and
does not ask the real clock for it.

Besides the seed nothing may decide: no thread, no socket, no set of text or of objects in whose order something is
done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import trio
from trio._core import _run as trio_loop
from trio.testing import MockClock

__all__ = ["run_seeded"]

T = TypeVar("T")

_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"


def run_seeded(
    seed: int, main: Callable[[], Awaitable[T]], instruments: Sequence[trio.abc.Instrument] = ()
) -> T:
    """Run `main` to its end under a virtual clock that begins at 0 and jumps wherever all wait."""
    with _seeded(seed):
        return trio.run(main, clock=_clock(), instruments=instruments)


def _clock() -> MockClock:
    clock = MockClock(rate=0.0, autojump_threshold=0.0)
    names = vars(clock)
    names["current_time"] = lambda: names["_virtual_base"]
    return clock


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    names, chance = vars(trio_loop), trio_loop._r
    before = names[_SWITCH], chance.getstate()
    names[_SWITCH] = True
    chance.seed(seed)
    try:
        yield
    finally:
        names[_SWITCH] = before[0]
        chance.setstate(before[1])
