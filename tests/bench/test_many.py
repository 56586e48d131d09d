"""Many sessions at once: both chains with all their processes, and how their pieces are spread."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest
import trio

from bench.errors import BenchError
from bench.many.devices import CrowdSeen, FrameReader
from bench.many.measure import Run, measure_many, rows_of
from bench.many.pace import paces
from bench.plan import Plan
from transport.websocket.frames import text_frame

SMALL = attrs.evolve(Plan.quick(), crowd_densities=(1,), crowd_s=0.3)

LIMIT_S = 60.0


def say(what: str) -> None:
    """Nobody watches."""


async def test_both_chains_are_measured_with_a_process_a_session(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder: Path = tmp_path_factory.mktemp("m")
    with trio.fail_after(LIMIT_S):
        rows = await measure_many(SMALL, folder, say)
    assert len(rows) == 5
    assert all(row.measured.low > 0 and row.ratio is not None for row in rows)


def test_pieces_come_in_all_periods_and_no_sessions_are_in_step() -> None:
    crowd = paces(40, 2.0)
    assert set(Counter(pace.period_ms for pace in crowd).values()) == {2}
    assert {pace.period_ms for pace in crowd} == set(range(31, 51))
    assert len({pace.offset_ms for pace in crowd}) == 40
    assert all(0 <= pace.offset_ms < pace.period_ms for pace in crowd)


def test_the_first_density_alone_has_a_target() -> None:
    pairs = [(Run(CrowdSeen(9, 1.0, 500, 1000), 40, 200), Run(CrowdSeen(9, 0.5, 800, 3500), 300, 400))]
    held, free = (rows_of(25, pairs, is_held=is_held) for is_held in (True, False))
    assert [row.met for row in held] == [None, False, None, None, None]
    assert [row.met for row in free] == [None] * 5


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536])
def test_frames_are_read_in_whatever_parts_they_come(size: int) -> None:
    text = "x" * size
    data = text_frame(text.encode()) + b"\x89\x00" + text_frame(b"{}")
    reader = FrameReader()
    assert reader.feed(data) == [text, "{}"]
    found = [one for start in range(0, len(data), 1000) for one in reader.feed(data[start : start + 1000])]
    assert found == [text, "{}"]


def test_without_pieces_there_is_no_row() -> None:
    with pytest.raises(BenchError):
        rows_of(25, [], is_held=True)
