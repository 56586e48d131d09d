"""Whether a page can be used by everybody: axe-core's verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.web.limits import at_most

__all__ = ["faults"]

SOURCE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"

RUN = """async () => {
    for (let left = 5; ; left--) {
        try {
            return await axe.run({resultTypes: ["violations"]});
        } catch (error) {
            if (!left) throw error;
            await new Promise(requestAnimationFrame);
        }
    }
}"""
"""Looks at the page; axe fails if an element goes while it looks, and then it looks again."""

AT_REST = """() => Promise.all(
    document.getAnimations()
        .filter((one) => one.playState === "running" && one.effect.getComputedTiming().endTime !== Infinity)
        .map((one) => one.finished.catch(() => null)),
)"""
"""Waits for what moves and will end: an endless or a held animation is never finished."""

LIMIT_S = 60.0

GRAVE = frozenset({"serious", "critical"})


def faults(page: Page) -> list[str]:
    """Return what is serious or critical, a line each: the rule and where it is broken."""
    assert SOURCE.exists(), "axe-core is missing: make lint installs it (npm ci)"
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(SOURCE.read_text(encoding="utf-8"))
    with at_most(LIMIT_S, "axe"):
        page.evaluate(AT_REST)
        found: dict[str, Any] = page.evaluate(RUN)
    return [
        f"{one['id']} ({one['impact']}): {node['target']} {node.get('failureSummary', '')}"
        for one in found["violations"]
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]
