"""The whole bench in small, against the real server, and what it says when something is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import orjson
import pytest
import trio

import bench.__main__ as command
from bench.errors import BenchError, NotInstalled
from bench.figures import Spread
from bench.path import measure_path
from bench.plan import Plan
from bench.report import Row, Target

SMALL = attrs.evolve(Plan.quick(), clock_pieces=10, words=2_000, big_characters=300_000)


def say(what: str) -> None:
    """Nobody watches."""


async def test_the_path_is_measured_against_both_yardsticks(tmp_path: Path) -> None:
    with trio.fail_after(100):
        rows = await measure_path(SMALL, tmp_path, say)
    assert [row.ratio is not None for row in rows] == [True, True, True, True, False]
    times = [row for row in rows if row.unit == "ms"]
    assert len(times) == 3
    assert all(row.measured.low > 0 for row in times)
    # Rates are not held: so few words can all come in one frame, and then there is none.


def test_what_breaks_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
        async with trio.open_nursery():
            raise BenchError("the yardstick ended:\nno module")

    monkeypatch.setitem(command.PARTS, "path", broken)
    assert command.main(["path"]) == 1
    assert capsys.readouterr().err == "bench: not measured: the yardstick ended: no module\n"


@pytest.mark.parametrize(("words", "status"), [([], 0), (["--check"], 3)])
def test_a_missed_target_fails_only_when_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], status: int
) -> None:
    async def heavy(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
        await trio.lowlevel.checkpoint()
        return [Row("hub", "MiB", Spread(20, 20, 20), target=Target(15, at_most=True, of="measured"))]

    monkeypatch.setitem(command.PARTS, "hub", heavy)
    file = tmp_path / "figures.json"
    assert command.main(["hub", "--json", str(file), *words]) == status
    assert orjson.loads(file.read_bytes())["figures"][0]["met"] is False


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ([], 0, "bench: left out: no such agent\n"),
        (["--check"], 1, "bench: left out: no such agent\n"),
        (["claude"], 1, "bench: not measured: no such agent\n"),
    ],
)
def test_what_is_not_installed_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    told: str,
) -> None:
    async def missing(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
        await trio.lowlevel.checkpoint()
        raise NotInstalled("no such agent")

    async def light(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
        await trio.lowlevel.checkpoint()
        return [Row("hub", "MiB", Spread(9, 9, 9))]

    monkeypatch.setattr(command, "PARTS", {"claude": missing, "hub": light})
    assert command.main(words) == status
    said = capsys.readouterr()
    assert said.err == told
    assert ("hub" in said.out) == (not words or words == ["--check"])
