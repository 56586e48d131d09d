"""How full Claude Code's context is, what the session cost, and how near the person's limits are. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
from claude_agent_sdk import RateLimitInfo

__all__ = ["ClaudeGauge"]


@attrs.define(eq=False)
class ClaudeGauge:
    """The figures that one program reported. `cost_usd`: what its conversation has cost, None if that is unknown."""

    cost_usd: float | None = None
    _context: dict[str, int] | None = None
    _limits: dict[str, dict[str, Any]] = attrs.field(factory=dict)

    def note_context(self, usage: dict[str, Any]) -> None:
        """Take the answer to `get_context_usage`."""
        used, window = usage.get("totalTokens"), usage.get("maxTokens")
        if not isinstance(used, int) or not isinstance(window, int):
            return
        self._context = {"used": used, "window": window}
        threshold = usage.get("autoCompactThreshold")
        if usage.get("isAutoCompactEnabled") is True and isinstance(threshold, int):
            self._context["compacts_at"] = threshold

    def note_limits(self, info: RateLimitInfo) -> None:
        """Take what the service reported of the person's limits: of one window or of all."""
        windows = info.raw.get("unifiedWindows")
        known = (
            {name: one for name, one in windows.items() if isinstance(one, dict)}
            if isinstance(windows, dict)
            else {}
        )
        for name, one in known.items():
            self._note_limit(str(name), one.get("utilization"), one.get("resetsAt"))
        if info.rate_limit_type is not None and info.rate_limit_type not in known:
            self._note_limit(info.rate_limit_type, info.utilization, info.resets_at)

    def told(self) -> dict[str, Any]:
        """Return the known figures in the form of `Gauged`."""
        told: dict[str, Any] = {}
        if self._context is not None:
            told["context"] = self._context
        if self.cost_usd is not None:
            told["cost_usd"] = round(self.cost_usd, 6)
        if self._limits:
            told["limits"] = list(self._limits.values())
        return told

    def _note_limit(self, name: str, share: object, resets_at: object) -> None:
        limit: dict[str, Any] = {"name": name}
        if isinstance(share, int | float):
            limit["used_percent"] = round(share * 100, 1)
        if isinstance(resets_at, int | float):
            limit["resets_at"] = datetime.fromtimestamp(resets_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self._limits[name] = limit
