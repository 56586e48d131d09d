"""Medians, percentiles and ratios of paired runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs

from bench.errors import BenchError

__all__ = ["Spread", "differences", "percentile", "ratios", "spread"]


@attrs.frozen
class Spread:
    """Several measurements of one figure: their median, and the least and greatest."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median, least and greatest of `values`.

    Raises:
        BenchError: there are none.
    """
    if not values:
        raise BenchError("no run gave a figure")
    return Spread(median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of `values` do not pass.

    Raises:
        BenchError: there are none.
    """
    if not values:
        raise BenchError("no piece was timed")
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]


def ratios(ours: Sequence[float], bare: Sequence[float]) -> Spread:
    """Return ours over bare, pair by pair: what else the machine did meanwhile falls on both of a pair.

    Raises:
        BenchError: a run has no partner, or the yardstick measured nothing.
    """
    if len(ours) != len(bare) or not all(value > 0 for value in bare):
        raise BenchError("a run of the yardstick is missing or measured nothing")
    return spread([mine / theirs for mine, theirs in zip(ours, bare, strict=True)])


def differences(ours: Sequence[float], bare: Sequence[float]) -> Spread:
    """Return ours less bare, pair by pair.

    Raises:
        BenchError: a run has no partner, or there are none.
    """
    if len(ours) != len(bare):
        raise BenchError("a run of the yardstick is missing")
    return spread([mine - theirs for mine, theirs in zip(ours, bare, strict=True)])
