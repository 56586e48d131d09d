"""What a terminal knows of how its session can be steered: what is offered, what is set, what waits. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from builderos.client.moments import clock_time
from builderos.client.terminal import one_line
from builderos.client.wire.frames import Frame

__all__ = ["SETTINGS", "Scheduled", "Steering"]

SETTINGS: Final = {"model": "model", "mode": "permission_mode", "effort": "effort"}
"""Command of the terminal: field of the session's settings."""

MAX_CHOICES: Final = 300
"""Names of one list that are kept; the server sends no longer one."""


@attrs.frozen
class Scheduled:
    """A message that waits for its time, or is held past it."""

    message_id: str
    brief: str
    not_before: str


@attrs.define(eq=False)
class Steering:
    """What steers a session from the terminal.

    Attributes:
        last_turn: the newest turn that ended; a fork goes up to it.
        scheduled: messages for later by id, oldest first.
    """

    last_turn: str | None = None
    scheduled: dict[str, Scheduled] = attrs.field(factory=dict)
    _models: list[Mapping[str, Any]] = attrs.field(factory=list)
    _modes: list[Mapping[str, Any]] = attrs.field(factory=list)
    _commands: list[str] = attrs.field(factory=list)
    _described: list[tuple[str, str]] = attrs.field(factory=list)
    _can: frozenset[str] = frozenset()
    _settings: Mapping[str, Any] = attrs.field(factory=dict)
    _gauge: Mapping[str, Any] = attrs.field(factory=dict)
    _held: Mapping[str, Any] | None = None

    def take(self, frame: Frame) -> None:
        """Note what a frame says of all this."""
        match frame.kind:
            case "attached":
                self.scheduled = {}
                for item in frame.tables("queue"):
                    self._schedule(item)
                self._settings, self._held = _table(frame.body, "settings"), frame.body.get("held")
            case "agent":
                offered = _table(frame.body, "agent")
                self._models, self._modes = _tables(offered, "models"), _tables(offered, "modes")
                named = [one for one in _tables(offered, "commands") if _text(one, "name")]
                self._described = [(_text(one, "name"), _text(one, "description")) for one in named]
                self._commands = [name for name, _ in self._described]
                can = offered.get("can")
                self._can = (
                    frozenset(one for one in can if isinstance(one, str))
                    if isinstance(can, list)
                    else frozenset()
                )
            case "gauge":
                self._gauge = frame.body
            case "session_updated":
                self._settings = _table(frame.body, "settings") or self._settings
                self._held = frame.body.get("held", self._held)
            case "user_message":
                self._schedule({"content": frame.content, **frame.body})
            case "turn_started":
                self.scheduled.pop(frame.text("message_id"), None)
            case "delivery" if frame.text("state") == "cancelled":
                self.scheduled.pop(frame.text("message_id"), None)
        if frame.ends_turn:
            self.last_turn = frame.turn_id

    def offered(self, command: str) -> list[tuple[str, str, str]]:
        """Return id, name and description of each model, mode or effort."""
        if command == "effort":
            return [(one, one, "") for one in self.choices("effort")]
        items = self._models if command == "model" else self._modes
        found = [
            (_text(one, "id"), _text(one, "name"), _text(one, "description")) for one in items[:MAX_CHOICES]
        ]
        return [(one, name or one, about) for one, name, about in found if one]

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The agent's own commands and what they do."""
        return self._described

    @property
    def settings(self) -> Mapping[str, Any]:
        """The session's settings."""
        return self._settings

    def can(self, what: str) -> bool:
        """Return whether the agent says that it can do something."""
        return what in self._can

    def choices(self, command: str) -> list[str]:
        """Return what a command's word may be, as far as that is known."""
        match command:
            case "model":
                return _ids(self._models)
            case "mode":
                return _ids(self._modes)
            case "effort":
                efforts = self._model().get("efforts")
                return [one for one in efforts if isinstance(one, str)] if isinstance(efforts, list) else []
        return []

    def plan_mode(self) -> str | None:
        """Return the mode in which the agent plans and changes nothing; None if it offers none."""
        return next((_text(one, "id") for one in self._modes if one.get("kind") == "plan"), None)

    def completions(self, line: str, own: list[str]) -> list[str]:
        """Return what the last word of `line` may become.

        Args:
            line: what is typed so far.
            own: the terminal's own commands.
        """
        command, has_argument, typed = line.partition(" ")
        if not has_argument:
            known = [*own, *(f"/{name}" for name in self._commands)] if line.startswith("/") else []
            return sorted({one_line(name) for name in known if name.startswith(line)})
        asked = "mode" if command in {"y", "Y"} else command.removeprefix("/")
        return [one for one in self.choices(asked) if one.startswith(typed) and one == one_line(one)]

    def short(self) -> list[str]:
        """Return mode, model, context and cost in few words, as far as they are known."""
        mode = next(
            (one for one in self._modes if one.get("id") == self._settings.get("permission_mode")), {}
        )
        words = [
            _text(mode, "name") or _text(self._settings, "permission_mode"),
            _text(self._model(), "name") or _text(self._settings, "model"),
            _text(self._settings, "effort"),
        ]
        context = _table(self._gauge, "context")
        if window := _number(context, "window"):
            words.append(f"context {100 * _number(context, 'used') / window:.0f} %")
        if cost := _number(self._gauge, "cost_usd"):
            words.append(f"${cost:.2f}")
        if isinstance(self._held, dict):
            words.append(f"queue held: {_text(self._held, 'code')}")
        return [word for word in words if word]

    def status(self) -> str:
        """Return how the session stands, on one safe line."""
        words = [
            f"{name} {self._settings.get(field) or 'as the agent has it'}" for name, field in SETTINGS.items()
        ]
        context = _table(self._gauge, "context")
        used, window = _number(context, "used"), _number(context, "window")
        if window:
            words.append(f"context {100 * used / window:.0f} % of {window:,.0f}")
        if cost := _number(self._gauge, "cost_usd"):
            words.append(f"${cost:.2f}")
        for one in _tables(self._gauge, "limits"):
            until = clock_time(_text(one, "resets_at"))
            words.append(
                f"{_text(one, 'name')} {_number(one, 'used_percent'):.0f} %" + (until and f" until {until}")
            )
        if isinstance(self._held, dict):
            until = clock_time(_text(self._held, "until"))
            words.append(f"queue held, {_text(self._held, 'code')}" + (until and f", until {until}"))
        if self.scheduled:
            words.append(f"{len(self.scheduled)} for later")
        return " · ".join(one_line(word) for word in words)

    def _model(self) -> Mapping[str, Any]:
        wanted = self._settings.get("model")
        models = [
            one
            for one in self._models
            if one.get("id") == wanted or (not wanted and one.get("default") is True)
        ]
        return models[0] if models else {}

    def _schedule(self, item: Mapping[str, Any]) -> None:
        message_id, not_before = _text(item, "message_id"), _text(item, "not_before")
        if message_id and not_before:
            brief = one_line(_text(item, "content"), 60)
            self.scheduled[message_id] = Scheduled(message_id, brief, not_before)


def _ids(items: list[Mapping[str, Any]]) -> list[str]:
    return [name for one in items[:MAX_CHOICES] if (name := _text(one, "id"))]


def _table(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _tables(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = body.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _number(body: Mapping[str, Any], name: str) -> float:
    value = body.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
