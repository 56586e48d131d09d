"""A long conversation in the full-screen client: its start, scrolling through all of it, rest, and memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from bench.boot import database_of, fill
from bench.chains import open_server
from bench.devices import now_us
from bench.errors import BenchError
from bench.figures import percentile, ratios, spread
from bench.plan import Plan
from bench.processes import proportional_kib, spent_s, waited_s
from bench.report import Row, Target
from bench.terminal.bare import TEXT
from bench.terminal.window import FRAME_END, Size, Window, open_window
from bench.terminal.words import QUIET_S, attach_words

__all__ = ["measure_history"]

MAX_START_MS = 400.0

MAX_P99_MS = 50.0
"""A held key repeats 20 to 33 times a second: a page that takes no longer keeps up with it."""

MAX_LONGEST_MS = 100.0
"""What takes longer is felt as a stop, and not as the answer to a key."""

MAX_IDLE_SHARE = 0.2
"""Per cent of a core. A heartbeat comes every 15 s."""

SIZE: Size = (80, 24)

PATIENCE_S = 1.0
"""A key without an effect is pressed again after this, and the time continues: so a stop counts as one."""

LESS = "less what it waited for a processor"
"""The other figures depend on what else the machine has to do."""

_PAGE_UP = b"\x1b[5~"
_SESSION = "session-0"
_WHOLE = re.compile(rb"live.*?" + re.escape(FRAME_END), re.DOTALL)
"""The last line says so, below the box for text."""

_NUMBER = re.compile(rb"question (\d+),")
_DRAWN = re.compile(rb"question \d+,.*?" + re.escape(FRAME_END), re.DOTALL)
_BARE_DRAWN = re.compile(re.escape(TEXT.encode()) + rb".*?" + re.escape(FRAME_END), re.DOTALL)
_US_PER_MS = 1000.0
_MS_PER_S = 1000.0
_KIB = 1024.0


def answer_of(turn: int) -> str:
    """Return an answer such as agents give, with a list and code in it."""
    return f"""## Turn {turn}

I changed **two** files, since `load` of turn {turn} was called too early:

- `src/first.py`: reads the settings once
- `src/second.py`: waits for them, and *then* begins

```python
def load(path: str) -> dict[str, int]:
    with open(path) as file:
        return {{line.strip(): {turn} for line in file}}
```

Run `make test` to see it. The old form of turn {turn} still works.
"""


@attrs.frozen
class Start:
    """One start.

    Attributes:
        first_ms: until its first text was on the screen.
        spent_ms: processor time until then.
        whole_ms: until all was.
    """

    first_ms: float
    spent_ms: float
    whole_ms: float


@attrs.define
class Scroll:
    """How it went.

    Attributes:
        lowest: the number of the first question that was on the screen.
        spent_s: processor time of the client for all keys.
        times_ms: from each key to its page.
        idle_ms: that, less what the client and the bench waited for a processor.
    """

    lowest: int
    spent_s: float = 0.0
    times_ms: list[float] = attrs.field(factory=list)
    idle_ms: list[float] = attrs.field(factory=list)


async def measure_history(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of the long conversation. Raises BenchError where the client or the server broke."""
    data = folder / "history-data"
    async with open_server(data, folder):
        pass  # the first start makes the database and the key
    say(f"writing {plan.history:,} messages")
    await fill(database_of(data), 1, plan.history // 2, answer_of)
    words = attach_words(data, _SESSION)
    async with open_server(data, folder):
        rows = await _starts(plan, folder, words, say)
        async with open_window("the full-screen client", words, folder, SIZE) as window:
            await window.find(_WHOLE, 0, plan.run_limit_s)
            await window.rest(QUIET_S, plan.run_limit_s)
            rows.append(await _idle(window, plan, say))
            first = proportional_kib(window.pid) / _KIB
            say(f"scrolling through {plan.history:,} messages")
            rows += _scroll_rows(plan, await _scroll(window, plan))
            await window.rest(QUIET_S, plan.run_limit_s)
            whole = proportional_kib(window.pid) / _KIB
    title = "terminal: PSS"
    rows.append(Row(f"{title} after the start", "MiB", spread([first])))
    rows.append(Row(f"{title} with {plan.history:,} messages scrolled through", "MiB", spread([whole])))
    return rows


async def _starts(plan: Plan, folder: Path, words: list[str], say: Callable[[str], None]) -> list[Row]:
    ours, theirs = [], []
    for number in range(plan.pairs + 1):
        say(f"start of the terminal, pair {number} of {plan.pairs}")
        theirs.append(await _start(["-m", "bench.terminal.bare"], (_BARE_DRAWN, _BARE_DRAWN), plan, folder))
        ours.append(await _start(words, (_DRAWN, _WHOLE), plan, folder))
    bare = [start.first_ms for start in theirs[1:]]
    first, all_of_it = [start.first_ms for start in ours[1:]], [start.whole_ms for start in ours[1:]]
    spent, bare_spent = [start.spent_ms for start in ours[1:]], [start.spent_ms for start in theirs[1:]]
    title, against = "terminal: start to", ", against Textual alone"
    limit = Target(MAX_START_MS, at_most=True, of="measured")
    history = f"{title} the history of {plan.history:,} messages{against}"
    return [
        Row(history, "ms", spread(first), spread(bare), ratios(first, bare), limit),
        Row(
            f"{title} the history, processor time",
            "ms",
            spread(spent),
            spread(bare_spent),
            ratios(spent, bare_spent),
        ),
        Row(
            f"{title} the whole screen{against}",
            "ms",
            spread(all_of_it),
            spread(bare),
            ratios(all_of_it, bare),
        ),
    ]


async def _start(
    words: list[str], drawn: tuple[re.Pattern[bytes], re.Pattern[bytes]], plan: Plan, folder: Path
) -> Start:
    async with open_window("the program", words, folder, SIZE) as window:
        _, first_us = await window.find(drawn[0], 0, plan.run_limit_s)
        spent_ms = _MS_PER_S * spent_s(window.pid)
        _, whole_us = await window.find(drawn[1], 0, plan.run_limit_s)
        await window.rest(QUIET_S, plan.run_limit_s)
    first_ms, whole_ms = ((at_us - window.began_us) / _US_PER_MS for at_us in (first_us, whole_us))
    return Start(first_ms, spent_ms, whole_ms)


async def _idle(window: Window, plan: Plan, say: Callable[[str], None]) -> Row:
    say(f"the terminal rests for {plan.idle_s:g} s")
    before, began_us = spent_s(window.pid), now_us()
    await trio.sleep(plan.idle_s)
    share = 100 * (spent_s(window.pid) - before) / ((now_us() - began_us) / 1e6)
    limit = Target(MAX_IDLE_SHARE, at_most=True, of="measured")
    return Row(f"terminal: at rest for {plan.idle_s:g} s", "% of a core", spread([share]), target=limit)


async def _scroll(window: Window, plan: Plan) -> Scroll:
    """Press Page Up until the first question is on the screen; the next key as soon as the page is drawn."""
    lowest = min(map(int, _NUMBER.findall(window.raw)), default=0)
    done, before = Scroll(lowest), spent_s(window.pid)
    while done.lowest > 0:
        waited = waited_s(window.pid) + waited_s(os.getpid())
        start, pressed_us = len(window.raw), now_us()
        await window.press(_PAGE_UP)
        took_ms = (await _further(window, start, done, plan) - pressed_us) / _US_PER_MS
        waited_ms = _MS_PER_S * (waited_s(window.pid) + waited_s(os.getpid()) - waited)
        done.times_ms.append(took_ms)
        done.idle_ms.append(max(took_ms - waited_ms, 0.0))
    done.spent_s = spent_s(window.pid) - before
    return done


async def _further(window: Window, start: int, done: Scroll, plan: Plan) -> int:
    """Wait until an older question is on the screen; return when it was."""
    with trio.move_on_after(plan.run_limit_s):
        while True:
            with trio.move_on_after(PATIENCE_S) as patience:
                found, at_us = await window.find(_DRAWN, start, plan.run_limit_s)
            if patience.cancelled_caught:
                await window.press(_PAGE_UP)
                continue
            start = found.end()
            lowest = min(map(int, _NUMBER.findall(found[0])))
            if lowest < done.lowest:
                done.lowest = lowest
                return at_us
    raise BenchError("the terminal does not scroll any further")


def _scroll_rows(plan: Plan, done: Scroll) -> list[Row]:
    title = f"terminal: a page of {plan.history:,} messages"
    times = done.times_ms
    p99, longest = (
        Target(MAX_P99_MS, at_most=True, of="measured"),
        Target(MAX_LONGEST_MS, at_most=True, of="measured"),
    )
    return [
        Row(f"{title}, p50 of {len(times):,} keys", "ms", spread([percentile(times, 0.5)])),
        Row(f"{title}, processor time", "ms", spread([_MS_PER_S * done.spent_s / max(1, len(times))])),
        Row(f"{title}, p99", "ms", spread([percentile(times, 0.99)]), target=p99),
        Row(f"{title}, longest", "ms", spread([max(times, default=0.0)]), target=longest),
        Row(f"{title}, p99 {LESS}", "ms", spread([percentile(done.idle_ms, 0.99)])),
        Row(f"{title}, longest {LESS}", "ms", spread([max(done.idle_ms, default=0.0)])),
    ]
