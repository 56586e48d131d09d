"""The server's counters and histograms, and their text form for Prometheus.

That form has three kinds of lines and all counting happens on one thread, so this is a page of code. The client library
would add a registry for the whole process, locks, and collectors that read files of the process on the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal, Protocol, runtime_checkable

import attrs
import trio

from actors.events import TURN_ENDS
from actors.tail import AttachedDevice

__all__ = ["CONTENT_TYPE", "Histogram", "Lagging", "Metrics", "family"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""An append takes about a millisecond; a disk that is full or asleep takes seconds."""

MAX_SESSIONS: Final = 10_000
"""Sessions whose last commit and last hub are remembered; beyond it the memory is cleared."""

MAX_DEVICES: Final = 500
"""Devices that are shown, those furthest behind."""

Kind = Literal["counter", "gauge"]


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


@attrs.define(eq=False)
class Histogram:
    """Counts durations by their length."""

    _counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS_S) + 1))
    _sum_s: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self._counts)

    def lines(self, name: str, about: str) -> list[str]:
        """Return its lines."""
        lines = [f"# HELP {name} {about}", f"# TYPE {name} histogram"]
        below = 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self._counts, strict=True):
            below += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {below}')
        return [*lines, f"{name}_sum {self._sum_s:.6f}", f"{name}_count {below}"]


def family(
    kind: Kind, name: str, about: str, values: Mapping[str, float] | float, label: str = ""
) -> list[str]:
    """Return the lines of a counter or gauge: one value, or one for each value of `label`."""
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    if not isinstance(values, Mapping):
        return [*lines, f"{name} {values}"]
    return lines + [f'{name}{{{label}="{_escaped(key)}"}} {value}' for key, value in values.items()]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


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
    _followers: dict[Lagging, None] = attrs.field(factory=dict)

    def appended(self, session_id: str, head_seq: int, took_s: float, kinds: Collection[str]) -> None:
        """Record an append that was committed just now."""
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

    @contextmanager
    def following(self, listener: Lagging) -> Iterator[None]:
        """Report how far a listener is behind while inside the block."""
        self._followers[listener] = None
        try:
            yield
        finally:
            del self._followers[listener]

    def lags(self) -> dict[str, int]:
        """Return how far each device is behind, in the session where it is furthest; the furthest device first."""
        found: dict[str, int] = {}
        for listener in self._followers:
            if listener.device is not None:
                label = listener.device.device_id
                found[label] = max(found.get(label, 0), listener.lag)
        return dict(sorted(found.items(), key=lambda pair: -pair[1])[:MAX_DEVICES])

    def lines(self) -> list[str]:
        """Return the lines of all counters."""
        ends: dict[str, float] = {kind: self.turns_ended[kind] for kind in sorted(TURN_ENDS)}
        return [
            *family(
                "counter",
                "builderos_turns_started_total",
                "Turns that began since the start.",
                self.turns_started,
            ),
            *family("counter", "builderos_turns_ended_total", "Turns that ended, by how.", ends, "end"),
            *family("counter", "builderos_hub_starts_total", "Hub processes started.", self.hubs_started),
            *family(
                "counter",
                "builderos_hub_restarts_total",
                "Of these, for a session that had one before in this server's life.",
                self.hubs_restarted,
            ),
            *self.append_s.lines("builderos_append_seconds", "From handing an append over to its commit."),
            *self.fan_out_s.lines(
                "builderos_fan_out_seconds", "From the newest commit to a device's writer taking it."
            ),
            *family(
                "gauge", "builderos_device_lag", "Positions that a device is behind.", self.lags(), "device"
            ),
        ]
