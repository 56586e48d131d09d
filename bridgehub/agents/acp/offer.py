"""What an agent offers, and which of it is in force: modes, models, efforts and commands. No I/O.

An agent lists modes and models as config options, as older lists of their own, or both. A config option comes first.
A session has three settings: model, permission mode and effort. An unset one means the agent's initial value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.text import clean_text

__all__ = ["BYPASS", "SETTINGS", "AcpOffer", "SettingCall", "SettingChoice", "mode_kind"]

SETTINGS = ("permission_mode", "model", "effort")
"""The order in which they are set. A mode may change the other choices, and a model its efforts."""

BYPASS = "bypass"

MAX_ENTRIES = 500
"""Entries of each list. One agent was seen with hundreds of models."""

MAX_CHARS = 200

_CATEGORIES = {"mode": "permission_mode", "model": "model", "thought_level": "effort"}

_KINDS = (
    (
        BYPASS,
        (
            "bypass",
            "yolo",
            "fullaccess",
            "autopilot",
            "unrestricted",
            "never",
            "dangerous",
            "dontask",
            "allowall",
        ),
    ),
    ("plan", ("plan", "architect", "readonly")),
    ("edits", ("acceptedits", "autoedit", "edits")),
    ("auto", ("auto",)),
)
"""Kinds of modes, by parts of their names. The first match counts, because an agent does not report the kind."""


def mode_kind(mode_id: str, name: str = "") -> str:
    """Return the kind of a mode (PROTOCOL section 8), read from its id and its name."""
    words = "".join(sign for sign in f"{mode_id} {name}".lower() if sign.isalnum())
    return next((kind for kind, marks in _KINDS if any(mark in words for mark in marks)), "ask")


@attrs.frozen
class SettingCall:
    """One call that changes a setting."""

    method: str
    params: dict[str, Any]


@attrs.define(eq=False)
class SettingChoice:
    """The choices of one setting, and its value. `config_id`: the option that sets it. None: it has a method of its own."""

    entries: dict[str, dict[str, Any]]
    cut: bool
    current: str | None
    config_id: str | None = None


@attrs.define(eq=False)
class AcpOffer:
    """What is known of one agent-side conversation. `defaults`: its initial values, by setting."""

    choices: dict[str, SettingChoice] = attrs.field(factory=dict)
    commands: list[dict[str, Any]] = attrs.field(factory=list)
    defaults: dict[str, str | None] = attrs.field(factory=dict)
    can: tuple[str, ...] = ()

    def read_session(self, told: Fields) -> None:
        """Take the answer to a new, loaded or resumed session."""
        modes, models = told.inner("modes"), told.inner("models")
        if modes.raw:
            entries = _entries(modes.objects("availableModes"), "id")
            self.choices["permission_mode"] = SettingChoice(*entries, modes.maybe_text("currentModeId"))
        if models.raw:
            entries = _entries(models.objects("availableModels"), "modelId")
            self.choices["model"] = SettingChoice(*entries, models.maybe_text("currentModelId"))
        self.read_options(told)

    def read_options(self, told: Fields) -> None:
        """Take the `configOptions` of an answer or an update."""
        for option in told.objects("configOptions"):
            name = _CATEGORIES.get(option.text("category")) or _CATEGORIES.get(option.text("id"))
            if name is None or option.text("type") not in ("", "select"):
                continue
            entries, cut = _entries(_flat(option), "value")
            if entries:
                current = option.maybe_text("currentValue")
                self.choices[name] = SettingChoice(entries, cut, current, option.text("id"))

    def read_mode(self, told: Fields) -> None:
        """Take a `current_mode_update`."""
        choice = self.choices.get("permission_mode")
        if choice is not None and told.maybe_text("currentModeId") is not None:
            choice.current = told.text("currentModeId")[:MAX_CHARS]

    def read_commands(self, told: Fields) -> None:
        """Take an `available_commands_update`."""
        self.commands = [
            {
                "name": _short(one.text("name")),
                "description": _short(one.text("description")),
                "argument_hint": _short(one.inner("input").text("hint")),
            }
            for one in told.objects("availableCommands")[:MAX_ENTRIES]
            if one.text("name")
        ]

    def note_defaults(self, known: dict[str, Any] | None = None) -> None:
        """Remember what each unset setting means: the remembered value, or else the present one."""
        for name, choice in self.choices.items():
            kept = (known or {}).get(name)
            self.defaults[name] = kept if isinstance(kept, str) and kept in choice.entries else choice.current

    def current(self) -> dict[str, str | None]:
        """Return the settings in force. None is the default."""
        return {name: self.value_of(name) for name in SETTINGS if name in self.choices}

    def value_of(self, name: str) -> str | None:
        """Return a setting in force, None if it is the default."""
        choice = self.choices.get(name)
        return None if choice is None or choice.current == self.defaults.get(name) else choice.current

    def kind_of(self, mode_id: str | None) -> str:
        """Return the kind of an offered mode."""
        choice = self.choices.get("permission_mode")
        entry = {} if choice is None or mode_id is None else choice.entries.get(mode_id, {})
        return mode_kind(mode_id or "", str(entry.get("name", "")))

    def modes_of_kind(self, *kinds: str) -> tuple[str, ...]:
        """Return the ids of the modes of these kinds."""
        choice = self.choices.get("permission_mode")
        return () if choice is None else tuple(one for one in choice.entries if self.kind_of(one) in kinds)

    def refusal(self, name: str, value: str, *, may_bypass: bool) -> str | None:
        """Return why a setting cannot be set. None if it can."""
        choice, what = self.choices.get(name), name.replace("_", " ")
        if choice is None:
            return f"the agent offers no choice of {what}"
        if value not in choice.entries:
            return f"the agent does not offer the {what} {value[:MAX_CHARS]!r}"
        if name == "permission_mode" and self.kind_of(value) == BYPASS and not may_bypass:
            return "the agent may not work without asking: `allow_bypass` is off in its table"
        return None

    def change(self, name: str, value: str, session_id: str) -> SettingCall:
        """Return the call that sets `name`, which must be one of the choices."""
        choice = self.choices[name]
        if choice.config_id is not None:
            config = {"configId": choice.config_id, "value": value}
            return SettingCall("session/set_config_option", {"sessionId": session_id, **config})
        if name == "permission_mode":
            return SettingCall("session/set_mode", {"sessionId": session_id, "modeId": value})
        return SettingCall("session/set_model", {"sessionId": session_id, "modelId": value})

    def told(self) -> dict[str, Any]:
        """Return the offer in the form of `AgentOffered`."""
        efforts = list(self._of("effort"))
        default = self.defaults.get("model")
        models = [
            {**one, "efforts": efforts, "default": one["id"] == default} for one in self._of("model").values()
        ]
        modes = [{**one, "kind": self.kind_of(one["id"])} for one in self._of("permission_mode").values()]
        told = {
            "models": models,
            "modes": modes,
            "commands": self.commands,
            "mcp_servers": [],
            "applies": {"model": "now", "permission_mode": "now", "effort": "now"},
            "can": list(self.can),
        }
        return told | ({"truncated": True} if any(one.cut for one in self.choices.values()) else {})

    def _of(self, name: str) -> dict[str, dict[str, Any]]:
        choice = self.choices.get(name)
        return {} if choice is None else choice.entries


def _flat(option: Fields) -> tuple[Fields, ...]:
    """Return an option's values, including those of its groups."""

    def each() -> Iterator[Fields]:
        for one in option.objects("options"):
            if one.each("options"):
                yield from one.objects("options")
            else:
                yield one

    return tuple(each())


def _entries(told: tuple[Fields, ...], key: str) -> tuple[dict[str, dict[str, Any]], bool]:
    found: dict[str, dict[str, Any]] = {}
    for one in told[:MAX_ENTRIES]:
        name = one.text(key)
        if 0 < len(name) <= MAX_CHARS:
            label, about = _short(one.text("name")) or name, _short(one.text("description"))
            found[name] = {"id": name, "name": label, "description": about}
    return found, len(told) > MAX_ENTRIES


def _short(text: str) -> str:
    return clean_text(text[:MAX_CHARS])
