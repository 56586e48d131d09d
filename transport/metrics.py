"""The server's counters and histograms.

Counting is plain numbers on one thread, and costs nothing but that. `as_text` writes them for Prometheus: only it loads
the client library, with a registry of our own, so that nothing is collected of the process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from math import ceil
from typing import Final, Literal, Protocol, runtime_checkable

import attrs
import trio

from actors.events.committed import TURN_ENDS
from actors.tail import AttachedDevice

__all__ = [
    "CONTENT_TYPE",
    "Distribution",
    "Figure",
    "Histogram",
    "Lagging",
    "Metrics",
    "as_text",
    "lags_of",
    "share_of",
]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""An append takes about a millisecond; a disk that is full or asleep takes seconds."""

MAX_SESSIONS: Final = 10_000
"""Sessions whose last commit and last hub are remembered; beyond it the memory is cleared."""

MAX_DEVICES: Final = 500
"""Devices that are shown, those furthest behind."""

RECENT: Final = 64
"""The newest durations of a histogram, which are also kept as they are."""


@runtime_checkable
class Lagging(Protocol):
    """A listener of a session with a place in its journal."""

    @property
    def device(self) -> AttachedDevice | None:
        """The device that listens."""
        ...

    @property
    def lag(self) -> int:
        """Positions that it is behind."""
        ...


@attrs.frozen
class Figure:
    """A counter or a gauge: one value, or one for each value of `label`."""

    kind: Literal["counter", "gauge"]
    name: str
    about: str
    values: Mapping[str, float] | float
    label: str = ""


@attrs.frozen
class Distribution:
    """A histogram, or one for each value of `label`. `series`: counts of each bucket, and the sum."""

    name: str
    about: str
    series: Mapping[str, tuple[Sequence[int], float]]
    label: str = ""


@attrs.define(eq=False)
class Histogram:
    """Counts durations by their length. `recent`: the newest ones, in seconds, oldest first."""

    recent: deque[float] = attrs.field(factory=lambda: deque(maxlen=RECENT))
    _counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS_S) + 1))
    _sum_s: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds
        self.recent.append(seconds)

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self._counts)

    def figure(self, name: str, about: str) -> Distribution:
        """Return it as it is now."""
        return Distribution(name, about, {"": self.state()})

    def state(self) -> tuple[Sequence[int], float]:
        """Return the counts of all buckets and the sum, as they are now."""
        return tuple(self._counts), self._sum_s


def share_of(values: Collection[float], share: float) -> float:
    """Return the smallest value that `share` (0 to 1) of `values` do not pass. There must be values."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


@attrs.define(eq=False)
class Metrics:
    """The counters of one server. Call everything on the event loop; nothing blocks."""

    append_s: Histogram = attrs.field(factory=Histogram)
    fan_out_s: Histogram = attrs.field(factory=Histogram)
    turns_started: int = 0
    turns_ended: Counter[str] = attrs.field(factory=Counter)
    hubs_started: int = 0
    hubs_restarted: int = 0
    _committed: dict[str, tuple[int, float]] = attrs.field(factory=dict)
    _had_hub: set[str] = attrs.field(factory=set)

    def appended(self, session_id: str, head_seq: int, took_s: float, kinds: Collection[str]) -> None:
        """Record an append that was committed just now. `took_s`: since it was handed over."""
        self.append_s.observe(took_s)
        if len(self._committed) >= MAX_SESSIONS:
            self._committed.clear()
        self._committed[session_id] = (head_seq, trio.current_time())
        for kind in kinds:
            if kind in TURN_ENDS:
                self.turns_ended[kind] += 1
            elif kind == "turn_started":
                self.turns_started += 1

    def taken(self, session_id: str, seq: int) -> None:
        """Record that a device takes a batch up to `seq`. It counts if that is the newest commit."""
        head_seq, at = self._committed.get(session_id, (-1, 0.0))
        if seq == head_seq:
            self.fan_out_s.observe(trio.current_time() - at)

    def hub_started(self, session_id: str) -> None:
        """Record that a session's hub starts."""
        self.hubs_started += 1
        if session_id in self._had_hub:
            self.hubs_restarted += 1
        elif len(self._had_hub) >= MAX_SESSIONS:
            self._had_hub.clear()
        self._had_hub.add(session_id)

    def figures(self) -> list[Figure | Distribution]:
        """Return all counters and histograms as they are now."""
        ends: dict[str, float] = {kind: self.turns_ended[kind] for kind in sorted(TURN_ENDS)}
        restarts = "Of these, for a session that had one before in this server's life."
        return [
            Figure(
                "counter",
                "builderos_turns_started_total",
                "Turns that began since the start.",
                self.turns_started,
            ),
            Figure("counter", "builderos_turns_ended_total", "Turns that ended, by how.", ends, "end"),
            Figure("counter", "builderos_hub_starts_total", "Hub processes started.", self.hubs_started),
            Figure("counter", "builderos_hub_restarts_total", restarts, self.hubs_restarted),
            self.append_s.figure("builderos_append_seconds", "From handing an append over to its commit."),
            self.fan_out_s.figure(
                "builderos_fan_out_seconds", "From the newest commit to a device's writer taking it."
            ),
        ]


def lags_of(listeners: Iterable[object]) -> dict[str, int]:
    """Return how far each device is behind, in the session where it is furthest; the furthest device first."""
    found: dict[str, int] = {}
    for listener in listeners:
        if isinstance(listener, Lagging) and listener.device is not None:
            label = listener.device.device_id
            found[label] = max(found.get(label, 0), listener.lag)
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:MAX_DEVICES])


def as_text(figures: Iterable[Figure | Distribution]) -> bytes:
    """Return figures in the text form of Prometheus. Blocks the first time, when it loads the library."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector

    def family(figure: Figure | Distribution) -> Metric:
        if isinstance(figure, Distribution):
            return distribution(figure)
        maker = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
        if not isinstance(figure.values, Mapping):
            return maker(figure.name, figure.about, figure.values)
        made = maker(figure.name, figure.about, labels=[figure.label])
        for key, value in figure.values.items():
            made.add_metric([key], value)
        return made

    def distribution(figure: Distribution) -> Metric:
        made = HistogramMetricFamily(
            figure.name, figure.about, labels=[figure.label] if figure.label else None
        )
        for value, (counts, total) in figure.series.items():
            buckets = list(zip((*map(str, BOUNDS_S), "+Inf"), accumulate(counts), strict=True))
            made.add_metric([value] if figure.label else [], buckets, total)
        return made

    class Figures(Collector):
        def collect(self) -> Iterable[Metric]:
            return map(family, figures)

    registry = CollectorRegistry()
    registry.register(Figures())
    return generate_latest(registry)
