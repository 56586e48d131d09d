"""The part `terminal` in small, with the real server and the real clients."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
import trio

from bench.errors import BenchError, NotInstalled, one_line
from bench.plan import Plan
from bench.terminal import measure, words
from bench.terminal.history import measure_history
from bench.terminal.window import open_window

SMALL = attrs.evolve(Plan.quick(), words=500, history=60, idle_s=0.1)

LIMIT_S = 120.0


def say(what: str) -> None:
    """Nobody watches."""


async def test_a_long_answer_is_timed_in_both_clients(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(words, "SIZES", ((80, 24),))
    with trio.fail_after(LIMIT_S):
        last, cores = await words.measure_words(SMALL, tmp_path, say)
    assert last.ratio is not None
    assert last.against is not None
    assert min(last.measured.low, last.against.low) > 0
    assert 0 < cores.measured.low < 2


async def test_a_long_conversation_is_scrolled_through(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        rows = {row.name: row for row in await measure_history(SMALL, tmp_path, say)}
    keys = next(name for name in rows if "p50" in name)
    pressed = int(re.findall(r"p50 of (\d+) keys", keys)[0])
    assert pressed >= 10, "60 messages are more than ten windows"
    assert all(
        row.measured.low > 0 for row in rows.values() if "rest" not in row.name and "less" not in row.name
    )
    assert next(row.unit for row in rows.values() if "rest" in row.name) == "% of a core"


async def test_a_program_that_ends_is_told(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S), pytest.RaisesGroup(BenchError) as caught:
        async with open_window("it", ["-c", "print('no such session')"], tmp_path, (80, 24)) as window:
            await window.find(re.compile(b"never"), 0, LIMIT_S)
    assert one_line(caught.value) == "it ended: 'no such session'"


async def test_without_textual_the_part_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    with pytest.raises(NotInstalled):
        await measure.measure_terminal(SMALL, tmp_path, say)
