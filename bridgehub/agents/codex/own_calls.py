"""Messages that are commands of Codex's own terminal, and the methods that carry them out. No I/O.

Sent as text, they would only be words for the model.
"""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["COMMANDS", "OwnCall", "own_call"]

COMMANDS = (
    {"name": "compact", "description": "Sum the conversation up to make room.", "argument_hint": ""},
    {
        "name": "review",
        "description": "Review the changes that are not committed, or what the words after it say.",
        "argument_hint": "[instructions]",
    },
)
"""The commands in the form of Codex's offer."""


@attrs.frozen
class OwnCall:
    """A method of Codex that starts a turn. `item`: the kind of the first item by which Codex shows that it has begun."""

    method: str
    params: dict[str, Any]
    item: str


def own_call(content: str) -> OwnCall | None:
    """Return the call that a message stands for. None if it is text for the model."""
    word, _, rest = content.strip().partition(" ")
    if word == "/compact" and not rest:
        return OwnCall("thread/compact/start", {}, "contextCompaction")
    if word == "/review":
        instructions = rest.strip()
        target = (
            {"type": "custom", "instructions": instructions}
            if instructions
            else {"type": "uncommittedChanges"}
        )
        return OwnCall("review/start", {"target": target, "delivery": "inline"}, "enteredReviewMode")
    return None
