from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.figures import Spread, differences, percentile, ratios, spread


def test_a_percentile_is_one_of_the_values() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7], 0.99) == 7


def test_ratios_are_taken_pair_by_pair() -> None:
    assert ratios([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == Spread(3.0, 2.0, 4.0)


@pytest.mark.parametrize(("ours", "bare"), [([1.0], []), ([], []), ([1.0], [0.0])])
def test_without_its_yardstick_there_is_no_ratio(ours: list[float], bare: list[float]) -> None:
    with pytest.raises(BenchError):
        ratios(ours, bare)


def test_differences_are_taken_pair_by_pair() -> None:
    assert differences([3.0, 30.0, 8.0], [1.0, 10.0, 9.0]) == Spread(2.0, -1.0, 20.0)


@pytest.mark.parametrize(("ours", "bare"), [([1.0], []), ([], [])])
def test_without_its_yardstick_there_is_no_difference(ours: list[float], bare: list[float]) -> None:
    with pytest.raises(BenchError):
        differences(ours, bare)


def test_a_spread_of_nothing_is_none() -> None:
    with pytest.raises(BenchError):
        spread([])
