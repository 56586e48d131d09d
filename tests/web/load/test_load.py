"""The program of `make web-load` works; a person who runs it looks at its figures."""

from __future__ import annotations

from pathlib import Path

from tests.web.browser import Site
from tests.web.load.__main__ import Figure, long_stream


def test_a_short_stream_gives_figures(site: Site, tmp_path: Path) -> None:
    figures = list(long_stream(site, tmp_path, 1))
    assert [figure.unit for figure in figures] == ["ms", "MB", "ms"]
    assert all(figure.value > 0 for figure in figures if figure.unit == "ms")


def test_a_figure_over_its_limit_is_marked() -> None:
    over, within = Figure("task", 101, 100), Figure("task", 100, 100)
    assert "TOO MUCH" in str(over)
    assert "TOO MUCH" not in str(within)
