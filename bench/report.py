"""The figures of one run of the bench, with their targets: as a table for people and as JSON for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from bench.figures import Spread

__all__ = ["Row", "Target", "as_json", "missed", "table"]

_HEAD = ("figure", "measured", "against", "compared", "least - most", "target", "")


@attrs.frozen
class Target:
    """What a row's median must come to. `of`: whether the ratio, the difference or what was measured is meant."""

    limit: float
    at_most: bool
    of: Literal["ratio", "difference", "measured"] = "ratio"

    def is_met(self, value: float) -> bool:
        """Tell whether `value` is good enough."""
        return value <= self.limit if self.at_most else value >= self.limit


@attrs.frozen
class Row:
    """One line of the table.

    Attributes:
        against: the yardstick's own figure, where there is one.
        ratio: ours over the yardstick's, pair by pair.
        difference: ours less the yardstick's, pair by pair; shown where there is no ratio.
    """

    name: str
    unit: str
    measured: Spread
    against: Spread | None = None
    ratio: Spread | None = None
    target: Target | None = None
    difference: Spread | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None if the row has none."""
        if self.target is None:
            return None
        judged: Spread | None = getattr(self, self.target.of)
        return judged is not None and self.target.is_met(judged.median)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned text."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < column < len(_HEAD) - 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def missed(rows: Sequence[Row]) -> list[str]:
    """Return the names of the rows that miss their target."""
    return [row.name for row in rows if row.met is False]


def as_json(rows: Sequence[Row], machine: dict[str, str]) -> dict[str, Any]:
    """Return everything as JSON values."""
    figures = [{**attrs.asdict(row), "met": row.met} for row in rows]
    return {"machine": machine, "figures": figures}


def _cells(row: Row) -> tuple[str, ...]:
    shown = row.ratio or row.difference or row.measured
    return (
        row.name,
        f"{_number(row.measured.median)} {row.unit}",
        "" if row.against is None else f"{_number(row.against.median)} {row.unit}",
        _compared(row),
        f"{_number(shown.low)} - {_number(shown.high)}",
        _told(row),
        {None: "", True: "met", False: "MISSED"}[row.met],
    )


def _compared(row: Row) -> str:
    if row.ratio is not None:
        return f"{_number(row.ratio.median)}x"
    if row.difference is not None:
        return f"{row.difference.median:+.3g} {row.unit}"
    return ""


def _told(row: Row) -> str:
    target = row.target
    if target is None:
        return ""
    sign = "<=" if target.at_most else ">="
    unit = {"ratio": "x", "difference": f" {row.unit} more", "measured": ""}[target.of]
    return f"{sign} {_number(target.limit)}{unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
