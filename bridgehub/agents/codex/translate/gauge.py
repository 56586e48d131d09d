"""How full Codex's context is, and how near the person's limits are. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs

from bridgehub.agents.json_rpc.messages import Fields

__all__ = ["CodexGauge"]

_NAMES = {300: "five_hour", 10_080: "seven_day"}
"""Names of limits by their window in minutes, the same as for other agents."""


@attrs.define(eq=False)
class CodexGauge:
    """The figures that one program reported. `resets_at_ms`: when the reached limit ends, None if none is reached."""

    resets_at_ms: int | None = None
    _context: dict[str, int] | None = None
    _limits: list[dict[str, Any]] = attrs.field(factory=list)

    def note_tokens(self, usage: Fields) -> None:
        """Take a `tokenUsage`. Its last request contained the whole context."""
        used, window = usage.inner("last").count("totalTokens"), usage.count("modelContextWindow")
        if used is not None and window:
            self._context = {"used": used, "window": window}

    def note_limits(self, limits: Fields) -> None:
        """Take a `rateLimits`."""
        windows = [limits.inner(name) for name in ("primary", "secondary")]
        known = [one for one in windows if one.count("usedPercent") is not None]
        self._limits = [_limit(one) for one in known]
        full = [one.count("resetsAt") for one in known if (one.count("usedPercent") or 0) >= 100]
        resets = [at for at in full if at is not None]
        self.resets_at_ms = max(resets) * 1000 if resets else None

    def told(self) -> dict[str, Any]:
        """Return the known figures in the form of `Gauged`."""
        context = {} if self._context is None else {"context": self._context}
        return context | ({"limits": self._limits} if self._limits else {})


def _limit(window: Fields) -> dict[str, Any]:
    minutes, resets_at = window.count("windowDurationMins"), window.count("resetsAt")
    limit: dict[str, Any] = {
        "name": _NAMES.get(minutes or 0, f"{minutes} minutes"),
        "used_percent": window.count("usedPercent"),
    }
    if resets_at is not None:
        limit["resets_at"] = datetime.fromtimestamp(resets_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return limit
