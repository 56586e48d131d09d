from __future__ import annotations

import attrs
import orjson

from bench.figures import Spread
from bench.report import Row, Target, as_json, missed, table

SLOW = Row(
    "latency p50",
    "ms",
    Spread(3.0, 2.5, 3.5),
    Spread(1.5, 1.4, 1.6),
    Spread(2.0, 1.8, 2.2),
    Target(1.6, at_most=True),
)
LIGHT = Row("hub", "MiB", Spread(9.0, 8.0, 10.0), target=Target(15, at_most=True, of="measured"))
LATER = Row(
    "first piece",
    "ms",
    Spread(40.0, 35.0, 60.0),
    Spread(35.0, 30.0, 60.0),
    target=Target(10, at_most=True, of="difference"),
    difference=Spread(4.5, -2.0, 12.0),
)
PLAIN = Row("big", "ms", Spread(42.0, 40.0, 44.0))


def test_targets_judge_the_median_of_what_they_name() -> None:
    assert (SLOW.met, LIGHT.met, PLAIN.met) == (False, True, None)
    assert missed([SLOW, LIGHT, PLAIN]) == ["latency p50"]


def test_a_target_of_a_ratio_that_is_missing_is_missed() -> None:
    assert Row("x", "ms", Spread(1, 1, 1), target=Target(2, at_most=True)).met is False


def test_the_table_has_target_and_measured_side_by_side() -> None:
    lines = table([SLOW, LIGHT]).splitlines()
    assert lines[1].split() == [
        "latency",
        "p50",
        "3",
        "ms",
        "1.5",
        "ms",
        "2x",
        "1.8",
        "-",
        "2.2",
        "<=",
        "1.6x",
        "MISSED",
    ]
    assert lines[2].endswith("<= 15  met")


def test_a_difference_is_judged_and_shown_with_its_sign() -> None:
    assert LATER.met is True
    assert attrs.evolve(LATER, difference=Spread(11.0, 1.0, 12.0)).met is False
    line = table([LATER]).splitlines()[1]
    assert line.split()[2:] == [
        "40",
        "ms",
        "35",
        "ms",
        "+4.5",
        "ms",
        "-2",
        "-",
        "12",
        "<=",
        "10",
        "ms",
        "more",
        "met",
    ]


def test_the_json_has_every_figure() -> None:
    found = orjson.loads(orjson.dumps(as_json([SLOW, PLAIN], {"cores": "4"})))
    assert found["machine"] == {"cores": "4"}
    assert found["figures"][0]["ratio"] == {"median": 2.0, "low": 1.8, "high": 2.2}
    assert found["figures"][0]["met"] is False
    assert found["figures"][1]["against"] is None
