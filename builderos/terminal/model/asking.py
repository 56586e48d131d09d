"""A question that waits for a person: what it says, which keys answer it, and with what. Pure.

What may be allowed follows the same rule as in `attach`: only what is shown whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from builderos.client.requests import Asked, asked_of
from builderos.terminal.model.tools import describe

__all__ = ["Asking", "QuestionOption", "Wish"]


@attrs.frozen
class QuestionOption:
    """An option of a question that the agent asks."""

    label: str
    about: str


@attrs.frozen
class Wish:
    """What else is needed before the answer: a text of the person, a mode, or a field to edit."""

    kind: Literal["reason", "mode", "edit", "other"]
    field: str = ""
    text: str = ""
    modes: tuple[str, ...] = ()


@attrs.define(eq=False)
class Asking:
    """One open request.

    Attributes:
        at: the number of the agent's question that is asked now, if it asks some.
        chosen: labels chosen of it so far.
        may_drive: this device may also edit, change the mode and trust.
    """

    request_id: str
    body: Mapping[str, Any]
    may_drive: bool = True
    at: int = 0
    chosen: list[str] = attrs.field(factory=list)
    asked: Asked = attrs.field(init=False)
    _answers: dict[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.asked = asked_of(self.body)

    @property
    def kind(self) -> str:
        """The request's kind."""
        return str(self.body.get("kind") or "")

    @property
    def questions(self) -> list[Mapping[str, Any]]:
        """What the agent asks the person, if it asks something."""
        found = self.body.get("questions")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    @property
    def choices(self) -> list[QuestionOption]:
        """The options of the question that is asked now."""
        options = self.questions[self.at].get("options") if self.questions else None
        found = [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []
        return [
            QuestionOption(str(one.get("label") or ""), str(one.get("description") or ""))
            for one in found[:9]
        ]

    @property
    def is_multiple(self) -> bool:
        """Whether several options may be chosen."""
        return bool(self.questions) and self.questions[self.at].get("multiSelect") is True

    def title(self, agent: str) -> str:
        """Return what is asked, in a few words."""
        who = agent.capitalize() or "The agent"
        if self.questions:
            return f"{who} asks"
        if self.kind == "trust":
            return "This folder holds things that would run by themselves"
        if self.kind == "plan":
            return f"{who} has a plan"
        return (
            f"{who} wants to {describe(str(self.body.get('tool') or 'a tool'), self.body.get('input')).wish}"
        )

    @property
    def editable(self) -> str:
        """The field that a person may edit; empty if there is none."""
        names, given = self.body.get("editable"), self.body.get("input")
        if (
            not self.may_drive
            or not self.asked.is_whole
            or not isinstance(names, list)
            or not isinstance(given, dict)
        ):
            return ""
        return next((one for one in names if isinstance(one, str) and isinstance(given.get(one), str)), "")

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes in which the agent would not have asked."""
        found = self.body.get("modes")
        return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The keys that answer it and what they do."""
        if self.questions:
            keys = [("1-9", "choose" if not self.is_multiple else "choose several")] if self.choices else []
            return [
                *keys,
                *([("enter", "next")] if self.is_multiple else []),
                ("o", "other answer"),
                ("n", "refuse"),
            ]
        if self.kind == "trust" and not self.may_drive:
            return []
        if not self.asked.is_whole:
            return [("n", "deny"), ("r", "deny with a reason")]
        keys = [("y", "allow")]
        if self.asked.grant:
            keys.append(("a", "allow for this session"))
        keys += [(str(number), one) for number, one in enumerate(self.asked.options[:9], 1)]
        if self.editable:
            keys.append(("e", f"edit {self.editable}"))
        if self.may_drive and (self.modes or self.kind == "plan"):
            keys.append(("m", "allow and change the mode"))
        keys.append(("n", "continue without its settings" if self.kind == "trust" else "deny"))
        return keys if self.kind == "trust" else [*keys, ("r", "deny with a reason")]

    def knows(self, key: str) -> bool:
        """Return whether a key means something here."""
        return any(key == name or (name == "1-9" and key in "123456789") for name, _ in self.keys)

    def press(self, key: str) -> dict[str, Any] | Wish | None:
        """Return the fields of a `decide` that a key gives, or what is needed for it; None if it decides nothing."""
        if self.questions:
            return self._choose(key)
        known = {name for name, _ in self.keys}
        if key not in known:
            return None
        match key:
            case "y":
                return {"decision": "allow"}
            case "a":
                return {"decision": "allow_session"}
            case "n":
                return {"decision": "deny"}
            case "r":
                return Wish("reason")
            case "e":
                return Wish("edit", self.editable, str(self.body["input"][self.editable]))
            case "m":
                return Wish("mode", modes=self.modes)
        return {"option": self.asked.options[int(key) - 1]}

    def other(self, text: str) -> dict[str, Any] | None:
        """Take the person's own answer to the question that is asked now."""
        return self._next([*self.chosen, text] if self.is_multiple else [text])

    def _choose(self, key: str) -> dict[str, Any] | Wish | None:
        if key == "n":
            return {"decision": "deny"}
        if key == "o":
            return Wish("other")
        if key == "enter" and self.is_multiple and self.chosen:
            return self._next(self.chosen)
        number = int(key) if key.isascii() and key.isdigit() else 0
        if not 0 < number <= len(self.choices):
            return None
        label = self.choices[number - 1].label
        if not self.is_multiple:
            return self._next([label])
        self.chosen = (
            [one for one in self.chosen if one != label] if label in self.chosen else [*self.chosen, label]
        )
        return None

    def _next(self, labels: list[str]) -> dict[str, Any] | None:
        self._answers[str(self.questions[self.at].get("question") or "")] = ", ".join(labels)
        self.chosen = []
        if self.at + 1 < len(self.questions):
            self.at += 1
            return None
        return {"decision": "allow", "answers": self._answers}
