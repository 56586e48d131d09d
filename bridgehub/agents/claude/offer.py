"""What Claude Code offers, from what it reports at its start and at the start of each turn. No I/O."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["ClaudeOffer"]

_MODES = (
    {
        "id": "default",
        "kind": "ask",
        "name": "Ask",
        "description": "Asks before it edits files or runs commands.",
    },
    {
        "id": "acceptEdits",
        "kind": "edits",
        "name": "Accept edits",
        "description": "Edits files in the workspace without asking.",
    },
    {"id": "plan", "kind": "plan", "name": "Plan", "description": "Reads and plans, and changes nothing."},
    {
        "id": "auto",
        "kind": "auto",
        "name": "Auto",
        "description": "Judges by itself what it asks about.",
    },
    {
        "id": "bypassPermissions",
        "kind": "bypass",
        "name": "Never ask",
        "description": "Uses every tool without asking.",
    },
)

_CAN = ("steer", "images", "pdf", "compact", "fork")


@attrs.define(eq=False)
class ClaudeOffer:
    """What is known of one running program."""

    models: list[dict[str, Any]] = attrs.field(factory=list)
    _commands: list[dict[str, Any]] = attrs.field(factory=list)
    _terminal: frozenset[str] = frozenset()
    _servers: list[dict[str, Any]] = attrs.field(factory=list)

    @classmethod
    def of_start(cls, info: dict[str, Any] | None) -> ClaudeOffer:
        """Read what the program reported at its start."""
        told = info or {}
        models = [_model(one) for one in _objects(told.get("models")) if one.get("value")]
        return cls(models, _objects(told.get("commands")))

    def note_turn(self, init: dict[str, Any]) -> bool:
        """Take what the program reports at the start of a turn. Return whether that changes anything."""
        terminal = init.get("terminal_slash_commands")
        names = (
            frozenset(str(one).lstrip("/") for one in terminal) if isinstance(terminal, list) else frozenset()
        )
        servers = [
            {"name": str(one.get("name")), "status": str(one.get("status", "")), "error": None}
            for one in _objects(init.get("mcp_servers"))
        ]
        changed = (names, servers) != (self._terminal, self._servers)
        self._terminal, self._servers = names, servers
        return changed

    def model_of(self, resolved: str) -> str:
        """Return our list's id for the model that the program names, or that name if the list lacks it."""
        found = (one["id"] for one in self.models if resolved in (one["id"], one["resolved"]))
        return next(found, resolved)

    def told(self) -> dict[str, Any]:
        """Return the offer in the form of `AgentOffered`."""
        return {
            "models": [{name: one[name] for name in one if name != "resolved"} for one in self.models],
            "modes": list(_MODES),
            "commands": [_command(one) for one in self._commands if one.get("name") not in self._terminal],
            "mcp_servers": self._servers,
            "applies": {"model": "now", "permission_mode": "now", "effort": "now"},
            "can": list(_CAN),
        }


def _model(one: dict[str, Any]) -> dict[str, Any]:
    efforts = one.get("supportedEffortLevels")
    return {
        "id": str(one["value"]),
        "name": str(one.get("displayName", "")),
        "description": str(one.get("description", "")),
        "efforts": [str(word) for word in efforts] if isinstance(efforts, list) else [],
        "default": one["value"] == "default",
        "resolved": one.get("resolvedModel"),
    }


def _command(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": str(one.get("name")),
        "description": str(one.get("description", "")),
        "argument_hint": str(one.get("argumentHint", "")),
    }


def _objects(given: object) -> list[dict[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
