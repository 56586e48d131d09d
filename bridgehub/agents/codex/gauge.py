"""How full Codex's context is, and how near the person's limits are. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs

from bridgehub.agents.codex.protocol import Fields

__all__ = ["CodexGauge"]

_NAMES = {300: "five_hour", 10_080: "seven_day"}
"""Windows by their minutes, in the words that other agents have for them."""


@attrs.define(eq=False)
class CodexGauge:
    """What one program told. `resets_at_ms`: when the limit is over that is reached; None: none is."""

    resets_at_ms: int | None = None
    _context: dict[str, int] | None = None
    _limits: list[dict[str, Any]] = attrs.field(factory=list)

    def note_tokens(self, usage: Fields) -> None:
        """Take a `tokenUsage`: its last request had the whole context."""
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
        """Return the gauge as `Gauged` has it: only what is known."""
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
